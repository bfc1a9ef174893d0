"""A play gets our settings of Ansible, not what is left over in the operator's shell or ansible.cfg."""

import json
import os
import sys
from pathlib import Path

import pytest

from strixfleet.tools.ansible_playbook import HostOutcome, PlayRequest, PlayStatus, environment_for, play


REQUEST = PlayRequest("provision.yml", ("inventory",), "h1", "/dev/null")
HOSTS = {"all": {"hosts": {"h1": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}  # nothing listens there
TRANSPORTS = {
    "environment": ("", {"ANSIBLE_TRANSPORT": "local"}),
    "ansible.cfg": ("[defaults]\ntransport = local\n", {}),
}


def outcome(folder: Path, monkeypatch: pytest.MonkeyPatch, **variables: object) -> HostOutcome:
    monkeypatch.chdir(folder)
    python = {"ansible_python_interpreter": sys.executable, "llama_cpp_ref": "b10991"}
    (folder / "hosts.json").write_text(json.dumps({"all": {**HOSTS["all"], "vars": python}}))
    request = PlayRequest(
        "provision.yml", ("hosts.json",), "h1", "/dev/null", variables=variables, check=True
    )
    return play(request, lambda _event: None)["h1"]


@pytest.mark.parametrize("where", TRANSPORTS)
def test_a_play_never_runs_on_the_controller_by_a_left_over_transport(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    configuration, environment = TRANSPORTS[where]
    (tmp_path / "ansible.cfg").write_text(configuration)
    for name, text in environment.items():
        monkeypatch.setenv(name, text)

    found = outcome(tmp_path, monkeypatch)

    assert (found.status, "Connection refused" in found.message) == (PlayStatus.UNREACHABLE, True)


def test_tags_left_in_ansible_cfg_leave_out_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ansible.cfg").write_text("[tags]\nrun = nothing\nskip = always\n")

    assert outcome(tmp_path, monkeypatch).status is PlayStatus.UNREACHABLE, "no task ran"


LEFT_OVER = (
    *("ANSIBLE_TRANSPORT", "ANSIBLE_RUN_TAGS", "ANSIBLE_SKIP_TAGS", "ANSIBLE_STRATEGY"),
    *("ANSIBLE_SSH_HOST_KEY_CHECKING", "ANSIBLE_SSH_EXECUTABLE", "ANSIBLE_KEEP_REMOTE_FILES"),
    *("ANSIBLE_BECOME_METHOD", "ANSIBLE_NO_LOG", "ANSIBLE_LIBRARY", "ANSIBLE_NEVER_HEARD_OF"),
)
KEPT = (
    *("ANSIBLE_CONFIG", "ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_REMOTE_USER", "ANSIBLE_SSH_COMMON_ARGS"),
    *("ANSIBLE_HASH_BEHAVIOUR", "ANSIBLE_INVENTORY_ENABLED", "ANSIBLE_VARS_PLUGINS", "ANSIBLE_BECOME_FLAGS"),
    *("ANSIBLE_HASHI_VAULT_ADDR", "ANSIBLE_LOOKUP_PLUGINS"),
)


@pytest.mark.parametrize("name", LEFT_OVER)
def test_what_would_change_a_play_behind_its_plan_is_not_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "left-over")
    assert environment_for(REQUEST, tmp_path).get(name) != "left-over"


@pytest.mark.parametrize("name", KEPT)
def test_what_the_inventory_was_loaded_by_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "kept")
    assert environment_for(REQUEST, tmp_path)[name] == "kept"


def test_what_is_not_ansibles_is_passed_on(tmp_path: Path) -> None:
    assert environment_for(REQUEST, tmp_path)["PATH"] == os.environ["PATH"]
