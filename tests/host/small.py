"""The variables of a host that builds the real llama.cpp and serves a model of a few megabytes with it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from strixfleet.sandbox.boxes import Sandbox
from strixfleet.sandbox.gguf_writer import write_random_llama
from strixfleet.sandbox.llama_source import imported_once


MODEL_BYTES = 5_000_000


def furnish(made: Sandbox, folder: Path, *, model_bytes: int = MODEL_BYTES, **changes: object) -> None:
    """Write a sandbox's variables; nothing waits for a calm machine, unless `smoke_bench` is changed."""
    model = folder / "tiny.gguf"
    write_random_llama(model, size_bytes_at_least=model_bytes)
    repository, tag = imported_once()
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    settings: dict[str, Any] = {
        "llama_cpp_repository": str(repository),
        "llama_cpp_ref": tag,
        "llama_cpp_backend": "cpu",
        "llama_models": [{"name": "tiny", "path": str(model), "sha256": digest}],
        "llama_server_instances": [{"name": "chat", "model": "tiny", "port": 8080, "context_size": 2048}],
        "smoke_bench": {"prompt_tokens": 16, "generate_tokens": 16, "repetitions": 3, "calm_s": 0},
    }
    variables = made.inventory / "group_vars" / "all.yml"
    variables.parent.mkdir()
    variables.write_text(json.dumps(settings | changes))
