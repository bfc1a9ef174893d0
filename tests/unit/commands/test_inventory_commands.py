"""`init` and `validate` as a user runs them, and the inventory that `init` writes."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from strixfleet import assets
from strixfleet.cli import guarded, strixfleet
from strixfleet.errors import MistakeCode
from strixfleet.inventory.load import load
from strixfleet.inventory.request import InventoryRequest
from strixfleet.inventory.schema.parts import Instance, Model, SmokeBench, Waiver
from strixfleet.inventory.schema.settings import FIELDS
from tests.cases.inventory_cases import inventory_cases


SET_BY_OTHERS = {"sandbox_hardware_root"}


@dataclass
class Result:
    exit_code: int
    stdout: str
    stderr: str


Run = Callable[..., Result]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a verb as main() does."""

    def act(*arguments: str) -> Result:
        words = list(arguments)
        code = guarded(lambda: strixfleet.main(words, "strixfleet", standalone_mode=False), words)
        return Result(code, *capfd.readouterr())

    return act


def test_init_then_validate(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init").exit_code == 0
    assert (tmp_path / "inventory" / "hosts.yml").is_file()
    result = run("validate")
    assert (result.exit_code, result.stdout) == (0, "1 host, no mistakes\n")
    assert load(InventoryRequest(("inventory",))).hosts[0].settings.llama_cpp_ref is not None


def test_init_writes_one_host_and_nothing_that_outlives_it(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    written = run("init", str(folder)).stdout.splitlines()
    assert not any("host_vars" in line for line in written)
    hosts = folder / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("halo-1:", "big-box:"))
    result = run("validate", "-i", str(folder))
    assert (result.exit_code, result.stdout) == (0, "1 host, no mistakes\n")


def test_a_left_over_file_of_a_host_is_noticed(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    run("init", str(folder))
    (folder / "host_vars").mkdir()
    (folder / "host_vars" / "gone.yml").write_text("# kernel_gtt_gib: 56\n")
    result = run("validate", "-i", str(folder))
    assert "there is no host 'gone': Ansible does not read this file" in result.stdout + result.stderr


def test_init_refuses_to_overwrite(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert run("init", str(folder)).exit_code == 0
    (folder / "hosts.yml").write_text("mine\n")
    result = run("init", str(folder))
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert (folder / "hosts.yml").read_text() == "mine\n"


def test_init_refuses_a_dangling_link(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").symlink_to(tmp_path / "elsewhere")
    assert run("init", str(tmp_path)).exit_code == 2
    assert not (tmp_path / "elsewhere").exists()


def test_init_where_it_may_not_write(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("init", str(tmp_path / "file" / "below"))
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_mistakes_go_to_stdout_with_a_summary(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = inventory_cases()["several_mistakes_at_once"]
    case.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = run("validate", "-i", ".")
    *lines, summary = result.stdout.splitlines()
    assert result.exit_code == 2
    assert lines == case.expected
    assert summary == "1 host, 6 mistakes"
    assert result.stderr == ""


def test_json_is_one_document(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory_cases()["two_names_for_one_machine"].write(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = run("validate", "-i", ".", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == document["exit_code"] == 2
    assert document["schema"] == "strixfleet/validate/1"
    assert set(document["hosts"]) == {"h1", "h2"}
    assert document["mistakes"][0] == {
        "code": "value",
        "severity": "error",
        "file": "group_vars/all.yml",
        "line": 1,
        "host": "h1, h2",
        "hosts": ["h1", "h2"],
        "field": "llama_cpp_ref",
        "message": "'main' is not a release tag or a full commit",
        "hint": "write a tag such as b10991 or v0.1.1, or all 40 digits of a commit; a branch can move",
    }
    assert [item["severity"] for item in document["mistakes"]] == ["error", "warning"]


def test_a_limit_that_matches_nothing(run: Run, tmp_path: Path) -> None:
    run("init", str(tmp_path / "i"))
    result = run("validate", "-i", str(tmp_path / "i"), "-l", "nobody")
    assert result.exit_code == 2
    assert "matches no host" in result.stderr


def test_file_names_cannot_steer_a_terminal(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "a\x1b[2Jb"
    folder.mkdir()
    (folder / "hosts.yml").write_text('all:\n  hosts:\n    "h\\e]0;x\\a": {}\n')
    result = run("validate", "-i", str(folder))
    assert result.exit_code == 2
    assert "\x1b" not in result.stdout + result.stderr


def test_the_starter_documents_every_key() -> None:
    text = assets.path("inventory", "group_vars", "strix.yml").read_text()
    for name in set(FIELDS) - SET_BY_OTHERS:
        assert re.search(rf"^(# )?{name}:", text, re.MULTILINE), name
    for part in (Instance, SmokeBench, Waiver):
        for key in part.model_fields:
            assert re.search(rf"^#  +(- )?{key}:", text, re.MULTILINE), key
    for key in set(Model.model_fields) - {"path", "host_path"}:
        assert re.search(rf"^#  +(- )?{key}:", text, re.MULTILINE), key


def test_what_the_starter_has_in_comments_is_right(tmp_path: Path) -> None:
    """Take the comment signs away: the examples have to pass."""
    text = assets.path("inventory", "group_vars", "strix.yml").read_text()
    bare = re.sub(rf"^# (?=  |({'|'.join(FIELDS)}):)", "", text, flags=re.MULTILINE)
    bare = re.sub(
        r"^(kernel_arguments: \{\}|llama_(models|server_instances): \[\]|tailscale_enabled: false)$",
        "",
        bare,
        flags=re.MULTILINE,
    )
    bare = re.sub(r"<64 hexadecimal digits>", "a" * 64, bare)
    bare = bare.replace("<commit>", "b" * 40)
    bare = re.sub(r'"\{\{ \w+ \}\}"', "geheim", bare)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(bare)
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    halo-1:\n")
    settings = load(InventoryRequest((str(tmp_path),))).hosts[0].settings
    unset = {"tailscale_enabled", "llama_cpp_ref"}
    for name in set(FIELDS) - SET_BY_OTHERS - unset:
        assert name in settings.model_fields_set, name
    assert settings.llama_server_instances[0].arguments["flash-attn"] == "on"
    assert settings.kernel_arguments["amd_iommu"] == "off"


def test_validate_refuses_a_bad_pin_and_other_verbs_go_on(run: Run, tmp_path: Path) -> None:
    text = "all:\n  vars:\n    llama_cpp_ref: b10500\n    llama_cpp_backend: rocm\n  hosts:\n    h1:\n"
    (tmp_path / "hosts.yml").write_text(text)
    result = run("validate", "-i", str(tmp_path))
    assert result.exit_code == 2
    assert "hosts.yml:3: h1: llama_cpp_ref: b10500 answers nonsense beyond a micro-batch" in result.stdout
    (mistake,) = json.loads(run("validate", "-i", str(tmp_path), "--json").stdout)["mistakes"]
    assert (mistake["code"], mistake["severity"]) == ("known_defect", "error")
    (warning,) = load(InventoryRequest((str(tmp_path),))).warnings
    assert warning.code is MistakeCode.KNOWN_DEFECT
