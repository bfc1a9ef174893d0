"""What surrounds an inventory: ansible.cfg, environment, locale, vault questions, programs that fail."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from strixfleet.inventory.ansible.vaults import VAULT_PROMPT, typed_password
from strixfleet.tools.ansible_playbook import InMemory, PlayRequest, _argv


HOSTS = "all:\n  hosts:\n    h1:\n  vars:\n    llama_cpp_ref: b10991\n"
VALIDATE = (sys.executable, "-m", "strixfleet", "validate")
SHOW = """
from strixfleet.inventory.load import load
from strixfleet.inventory.request import InventoryRequest
print(load(InventoryRequest()).hosts[0].connection)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text(HOSTS)
    return tmp_path


def run(place: Path, *argv: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the inventory; nothing it says may be a traceback."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "LC_", "LANG"))
    }
    done = subprocess.run(
        argv, cwd=place, env={**kept, **environment}, input=text, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def test_ansible_cfg_says_how_to_connect(place: Path) -> None:
    text = "[defaults]\nremote_user = cfg\ntimeout = 33\n[ssh_connection]\nssh_common_args = -J jump.org\n"
    (place / "ansible.cfg").write_text(text)
    shown = run(place, sys.executable, "-c", SHOW).stdout
    assert "user='cfg'" in shown
    assert "ssh_common_args=('-J', 'jump.org')" in shown
    assert "timeout_s=33" in shown


def test_the_environment_outranks_it(place: Path) -> None:
    (place / "ansible.cfg").write_text("[defaults]\nremote_user = cfg\n")
    environment = {"ANSIBLE_REMOTE_USER": "env", "ANSIBLE_SSH_COMMON_ARGS": "-J other"}
    shown = run(place, sys.executable, "-c", SHOW, **environment).stdout
    assert "user='env'" in shown
    assert "ssh_common_args=('-J', 'other')" in shown


def test_ansible_cfg_names_the_inventory(place: Path) -> None:
    (place / "inventory").rename(place / "elsewhere")
    (place / "ansible.cfg").write_text("[defaults]\ninventory = elsewhere\n")
    assert run(place, *VALIDATE).stdout == "1 host, no mistakes\n"


@pytest.mark.parametrize("text", ["garbage\n", "[defaults]\nforks = many\n"])
def test_a_broken_ansible_cfg_is_one_sentence(place: Path, text: str) -> None:
    (place / "ansible.cfg").write_text(text)
    done = run(place, *VALIDATE)
    assert done.returncode == 2
    assert done.stderr.startswith("strixfleet: Ansible does not start: ")
    assert "hint: check ansible.cfg" in done.stderr


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}, {"LC_ALL": "xx_XX"}]
)
def test_any_locale(place: Path, environment: dict[str, str]) -> None:
    done = run(place, *VALIDATE, **environment)
    assert (done.returncode, done.stdout) == (0, "1 host, no mistakes\n")


def encrypted(place: Path) -> None:
    (place / "password").write_text("pw\n")
    (place / "inventory" / "group_vars").mkdir()
    (place / "inventory" / "group_vars" / "all.yml").write_text("tailscale_auth_key: geheim\n")
    program = Path(sys.executable).parent / "ansible-vault"
    argv = [str(program), "encrypt", "--vault-password-file", "password", "inventory/group_vars/all.yml"]
    subprocess.run(argv, cwd=place, check=True, capture_output=True)


def test_vault_password_asked_for(place: Path) -> None:
    encrypted(place)
    assert run(place, *VALIDATE, "--ask-vault-pass", text="pw\n").returncode == 0
    refused = run(place, *VALIDATE, "--ask-vault-pass", text="other\n")
    assert refused.returncode == 2
    assert "all.yml:1: cannot be decrypted" in refused.stdout
    assert "no vault password was given" in run(place, *VALIDATE, "--ask-vault-pass").stderr


def test_a_typed_vault_password_is_asked_for_once_and_reaches_a_play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("geheim\n"))
    typed_password.cache_clear()
    assert typed_password(VAULT_PROMPT) == "geheim"
    with InMemory() as memory:
        request = PlayRequest("provision.yml", ("i",), "all", "/k", ask_vault_pass=True)
        argv = _argv(request, tmp_path, memory)
        file = Path(argv[argv.index("--vault-id") + 1].removeprefix("default@"))
        assert (file.read_text(), file.stat().st_mode & 0o777) == ("geheim", 0o600)
    assert "geheim" not in " ".join(argv)
    typed_password.cache_clear()


def test_vault_password_from_ansible_cfg_or_a_program(place: Path) -> None:
    encrypted(place)
    (place / "program").write_text("#!/bin/sh\necho pw\n")
    (place / "program").chmod(0o755)
    assert run(place, *VALIDATE, "--vault-password-file", "program").returncode == 0
    (place / "ansible.cfg").write_text("[defaults]\nvault_identity_list = dev@password\n")
    assert run(place, *VALIDATE).returncode == 0
    missing = run(place, *VALIDATE, "--vault-password-file", "nowhere")
    assert missing.returncode == 2
    assert "was not found" in missing.stderr


@pytest.mark.parametrize(
    ("program", "says"),
    [("echo oops >&2; exit 3", "exit code 3"), ("echo no json", "could not be parsed as JSON")],
)
def test_a_program_that_fails(place: Path, program: str, says: str) -> None:
    (place / "inventory" / "cloud").write_text(f"#!/bin/sh\n{program}\n")
    (place / "inventory" / "cloud").chmod(0o755)
    done = run(place, *VALIDATE)
    assert done.returncode == 2
    assert "inventory/cloud: cannot be read as an inventory" in done.stdout
    assert says in done.stdout


def test_a_slip_that_a_program_hands_over_names_its_file(place: Path) -> None:
    program = place / "inventory" / "cloud"
    program.write_text("""#!/bin/sh\necho '{"g": {"hosts": ["h2"], "vars": {"llama_cpp_reff": 1}}}'\n""")
    program.chmod(0o755)
    said = run(place, *VALIDATE).stdout
    assert "inventory/cloud: h2: llama_cpp_reff: is not known; hint: write llama_cpp_ref\n" in said


def test_a_slip_in_toml_names_its_file_or_none(place: Path) -> None:
    """ansible-core says of values from TOML that the first file of the inventory holds them."""
    slip = "h2: llama_cpp_reff: is not known; hint: write llama_cpp_ref\n"
    text = '[all.hosts.h2]\nllama_cpp_ref = "b10991"\nllama_cpp_reff = "b10991"\n'
    (place / "inventory" / "more.toml").write_text(text)
    assert run(place, *VALIDATE).stdout == f"{slip}2 hosts, 1 mistake\n"
    (place / "inventory" / "hosts.yml").unlink()
    assert run(place, *VALIDATE).stdout == f"inventory/more.toml: {slip}1 host, 1 mistake\n"


def test_what_only_ansible_notices_in_ini_is_not_said_of_yaml(place: Path) -> None:
    (place / "inventory" / "more").write_text("[nobody:vars]\nx=1\n")
    done = run(place, *VALIDATE)
    assert done.returncode == 2
    assert "inventory/more: cannot be read as an inventory: Section [nobody:vars] not valid" in done.stdout


def test_a_plugin_that_is_not_there(place: Path) -> None:
    (place / "inventory" / "cloud.yml").write_text("plugin: nobody.nothing.cloud\n")
    done = run(place, *VALIDATE)
    assert done.returncode == 2
    assert "inventory/cloud.yml" in done.stdout


def test_the_current_folder_is_no_part_of_the_inventory(place: Path) -> None:
    (place / "group_vars").mkdir()
    (place / "group_vars" / "all.yml").write_text("llama_cpp_ref: master\n")
    assert run(place, *VALIDATE).returncode == 0
