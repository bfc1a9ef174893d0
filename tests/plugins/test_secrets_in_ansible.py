"""No output hides a failure, and none shows a secret: AWX keeps what a callback is told, at any verbosity."""

import hashlib
from pathlib import Path

import pytest

from tests.plugins.plain_playbook import HERE, NOWHERE, PROVISION, events, fleet, plain, tasks


EVENTS = "strixfleet.fleet.events"
SECRETS = {"planted-join-key", "planted-hub-token", "planted-api-key"}
SETTINGS = {
    "llama_cpp_ref": "b10991",
    "hardware_profile": "sandbox",
    "llama_models_token": "planted-hub-token",
    "llama_models": [{"name": "m", "url": "https://127.0.0.1:1/m.gguf", "sha256": "0" * 64}],
    "llama_server_instances": [{"name": "chat", "model": "m", "port": 8080, "api_key": "planted-api-key"}],
    "tailscale_enabled": True,
    "tailscale_auth_key": "planted-join-key",
}
COMPILE = {"strixfleet.fleet.compile": {}, "register": "strixfleet_state"}


def test_why_a_host_is_unreachable_is_said(tmp_path: Path) -> None:
    inventory = fleet(tmp_path, {"h1": NOWHERE}, llama_cpp_ref="b10991")

    done = plain(inventory, PROVISION, callback=EVENTS)

    lost = [one["message"] for one in events(done) if one["event"] == "unreachable"]
    assert ["Connection refused" in message for message in lost] == [True], done.stdout


def test_why_a_host_cannot_be_compiled_is_said(tmp_path: Path) -> None:
    inventory = fleet(tmp_path, {"h1": HERE}, llama_cpp_ref="b10991", kernel_gtt_gib="lots")

    done = plain(inventory, PROVISION, "-e", "ansible_become=false", callback=EVENTS)

    failed = [one["message"] for one in events(done) if one["event"] == "failed"]
    assert ["kernel_gtt_gib" in message for message in failed] == [True], done.stdout


@pytest.mark.slow
def test_no_secret_is_shown_at_any_verbosity(tmp_path: Path) -> None:
    inventory = fleet(tmp_path, {"h1": HERE}, **SETTINGS)
    roles = (
        {"ansible.builtin.import_role": {"name": f"strixfleet.fleet.{name}"}}
        for name in ("llama_models", "tailscale")
    )
    keys = {"folder": [], "secret_file": "{{ strixfleet_state.deeds.llama_server.secret_file }}"}
    digest = {
        "ansible.builtin.debug": {"msg": "{{ keys | to_json | hash('sha256') }}"},
        "vars": {"keys": keys},
    }
    write = {"strixfleet.fleet.apply": {"deeds": keys}}

    done = plain(inventory, tasks(tmp_path, COMPILE, digest, write, *roles), "--check", "--diff", "-vvvvv")

    said = done.stdout + done.stderr
    assert "Join the tailnet" in said, said
    assert "Store the models" in said
    assert done.returncode == 0, said[-4000:]
    assert [secret for secret in SECRETS if secret in said] == []


def test_the_planted_key_reaches_the_role(tmp_path: Path) -> None:
    """Or the test above proves nothing."""
    inventory = fleet(tmp_path, {"h1": HERE}, **SETTINGS)
    rows = "strixfleet_state.deeds.llama_server.secret_file"
    told = {"ansible.builtin.debug": {"msg": f"{{{{ {rows}[0].content | trim | hash('sha256') }}}}"}}

    done = plain(inventory, tasks(tmp_path, COMPILE, told))

    assert hashlib.sha256(b"planted-api-key").hexdigest() in done.stdout, done.stdout + done.stderr
