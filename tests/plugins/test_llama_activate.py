"""The module passes on what strixfleet-host answers, and chooses its hint by the code."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.collection import collection


def activate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], printed: str
) -> dict[str, Any]:
    from ansible.module_utils.testing import patch_module_args

    module = collection("modules.llama_activate")
    program = tmp_path / "strixfleet-host"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setattr(module, "PROGRAM", str(program))
    monkeypatch.setattr(module, "CURRENT", str(tmp_path / "current"))
    with patch_module_args({"id": "b1-cpu-00000001"}), pytest.raises(SystemExit):
        module.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("unexpected_build", "; hint: `strixfleet upgrade` moves a host to another build"),
        ("locked", "; hint: wait for it, or see `strixfleet unlock`"),
        ("bad_build", ""),
        (None, ""),  # a program of the version before codes
    ],
)
def test_the_hint_fits_the_refusal(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str | None,
    hint: str,
) -> None:
    printed = json.dumps({"error": "it is not so", **({"code": code} if code else {})})
    answer = activate(tmp_path, monkeypatch, capsys, printed)
    assert (answer["failed"], answer["msg"]) == (True, f"it is not so{hint}")


def test_what_changed_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = json.dumps({"error": None, "code": "done", "changed": True, "previous": "b0-cpu-00000000"})
    answer = activate(tmp_path, monkeypatch, capsys, printed)
    assert (answer["changed"], answer["previous"]) == (True, "b0-cpu-00000000")
    assert activate(tmp_path, monkeypatch, capsys, "")["msg"].endswith("no answer")
