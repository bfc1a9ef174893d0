"""Put what the llama roles need into the cache, and name it in the disposable host's inventory."""

import hashlib
import json

import platformdirs

from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.gguf_writer import write_random_llama
from strixfleet.sandbox.llama_source import imported_once


def main() -> None:
    """Write group_vars of the sandbox `molecule`."""
    repository, tag = imported_once()
    model = platformdirs.user_cache_path("strixfleet") / "models" / "small.gguf"
    model.parent.mkdir(parents=True, exist_ok=True)
    write_random_llama(model, size_bytes_at_least=6_000_000, name="small")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    variables = lifecycle.named("molecule").inventory / "group_vars" / "strix.yml"
    variables.parent.mkdir(exist_ok=True)
    settings = {
        "llama_cpp_repository": str(repository),
        "llama_cpp_ref": tag,
        "llama_cpp_backend": "cpu",
        "llama_models": [{"name": "small", "path": str(model), "sha256": digest}],
    }
    variables.write_text(json.dumps(settings) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
