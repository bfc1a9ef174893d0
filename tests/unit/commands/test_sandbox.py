"""The verb: what it prints where, and what it refuses before anything is made."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from strixfleet.commands.sandbox import sandbox
from strixfleet.errors import ExitCode, SandboxError, UsageError
from strixfleet.sandbox import lifecycle as sandboxes
from strixfleet.sandbox import machine_tools, sandbox_state
from strixfleet.sandbox.boxes import Sandbox, SandboxHost, SandboxRequest, inventory_text, ssh_config_text


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sandbox_state, "state_dir", lambda: tmp_path)
    return tmp_path


def made_in(folder: Path, name: str) -> Sandbox:
    hosts = (SandboxHost(f"{name}-1", "10.231.9.11", folder / name / "hosts" / f"{name}-1"),)
    made = Sandbox(name, folder / name, "framework-desktop", "10.231.9.0/24", f"sf-{name}", hosts)
    sandbox_state.write_record(made)
    return made


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(sandbox, list(arguments))


def test_list_says_that_there_is_none(state: Path) -> None:
    result = invoke("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "sandbox create" in result.stderr


def test_list_shows_hosts_and_json_is_one_document(state: Path) -> None:
    made_in(state, "one")
    assert "one-1  10.231.9.11  stopped" in invoke("list").stdout
    document = json.loads(invoke("list", "--json").stdout)
    assert document["schema"] == "strixfleet/sandbox/1"
    assert document["hosts"] == {"one-1": {"reachable": False, "address": "10.231.9.11"}}


def test_a_record_survives_being_read(state: Path) -> None:
    made = made_in(state, "one")
    assert sandbox_state.read_record("one") == made


def test_destroy_asks_which_when_there_are_two(state: Path) -> None:
    made_in(state, "one")
    made_in(state, "two")
    result = invoke("destroy")
    assert result.exit_code == ExitCode.USAGE
    assert "one, two, or give --all" in result.stderr


def test_destroy_without_any_is_no_error(state: Path) -> None:
    assert invoke("destroy").exit_code == 0


def test_unknown_box_is_refused_with_the_known_ones() -> None:
    result = invoke("create", "--box", "mainframe")
    assert result.exit_code == ExitCode.USAGE
    assert "framework-desktop" in result.stderr


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (SandboxRequest(name="Has Blanks"), "not a valid name"),
        (SandboxRequest(name="../up"), "not a valid name"),
        (SandboxRequest(name="one"), "exists"),
        (SandboxRequest(hosts=0), "1 to 200"),
        (SandboxRequest(hosts=201), "1 to 200"),
        (SandboxRequest(box="mainframe"), "gmktec-evo-x2"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_made(
    state: Path, monkeypatch: pytest.MonkeyPatch, request_: SandboxRequest, words: str
) -> None:
    monkeypatch.setattr(sandboxes, "require_root_and_tools", lambda: None)
    made_in(state, "one")
    before = sorted(state.rglob("*"))
    with pytest.raises(UsageError, match=words):
        sandboxes.create(request_)
    assert sorted(state.rglob("*")) == before


def test_missing_root_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match="needs root") as refused:
        sandboxes.create(SandboxRequest())
    assert "\n" not in str(refused.value)


def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(machine_tools, "has", lambda program: program not in {"nft", "mmdebstrap"})
    with pytest.raises(SandboxError) as refused:
        machine_tools.require_root_and_tools()
    assert refused.value.hint == "apt-get install mmdebstrap nftables"


def test_inventory_and_ssh_config_survive_a_folder_with_blanks_and_quotes(tmp_path: Path) -> None:
    import yaml

    made = made_in(tmp_path / "it's a: #folder", "one")
    variables = yaml.safe_load(inventory_text(made))["strix"]["vars"]
    assert variables["ansible_ssh_private_key_file"] == str(made.ssh_key)
    assert f'IdentityFile "{made.ssh_key}"' in ssh_config_text(made)
