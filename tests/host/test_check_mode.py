"""Check mode on a bare host: every role says what it would do, and does none of it."""

import json
from pathlib import Path

import pytest

from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.boxes import SandboxRequest
from strixfleet.sandbox.gguf_writer import write_random_llama
from strixfleet.sandbox.llama_source import imported_once
from tests.conftest import Run
from tests.host.outside import changed, picture


pytestmark = pytest.mark.host
EXPECTED = (
    "kernel : Write the kernel arguments",
    "kernel : Regenerate the boot configuration",
    "gpu_stack : Bring about account, apt sources, packages and holds",
    "tuning : Run tuned, and no rival daemon",
    "llama_cpp : Install what compiling takes",
    "llama_cpp : Build llama.cpp",
    "llama_models : Store the models",
    "llama_server : Bring the servers up",
)


def test_check_mode_foretells_and_changes_nothing(strixfleet: Run, tmp_path: Path) -> None:
    repository, ref = imported_once()
    model = tmp_path / "small.gguf"
    write_random_llama(model, size_bytes_at_least=5_000_000)
    made = lifecycle.create(SandboxRequest(name="check", hosts=1))
    try:
        settings = {
            "llama_cpp_repository": str(repository),
            "llama_cpp_ref": ref,
            "llama_models": [{"name": "small", "path": str(model), "sha256": "0" * 64}],
            "llama_server_instances": [{"name": "main", "model": "small", "port": 8080}],
        }
        (made.inventory / "group_vars").mkdir()
        (made.inventory / "group_vars/all.yml").write_text(json.dumps(settings))
        before = picture(made, "check-1")

        done = strixfleet("provision", "-i", str(made.inventory), "--yes", "--check", "--diff")

        assert done.returncode == 1, done.stdout + done.stderr
        assert [words for words in EXPECTED if words not in done.stderr] == []
        assert "+GRUB_CMDLINE_LINUX=" in done.stderr
        assert changed(before, picture(made, "check-1")) == []
    finally:
        lifecycle.destroy("check")
