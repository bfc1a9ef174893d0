"""Where model files lie on a host, and how a stamp beside each one spares hashing 60 GB at every audit."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from strixfleet.inventory.schema.parts import Model, ModelFile
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question


STORE = "/var/lib/strixfleet/models"
IN_PLACE_STAMPS = "/var/lib/strixfleet/state/models"
UNVERIFIED = "not verified"
_IDENTITY = ("size_bytes", "mtime_ns", "inode")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """
    One file of a model; `path` is where llama-server reads it, `stamp` where its verified identity is noted.

    The stamp holds `{sha256, size_bytes, mtime_ns, inode}` as they were when the digest was last computed.
    """

    model: str
    path: str
    stamp: str
    origin: str
    source: str
    sha256: str

    @property
    def in_store(self) -> bool:
        """Tell whether the file is ours; one with `host_path` is only used."""
        return self.origin != "host_path"

    @property
    def item_id(self) -> str:
        """Return the audit item's id."""
        return f"llama_models:{self.path}"

    def questions(self) -> Iterator[Question]:
        """Ask for identity and stamp; the content itself is never read by an audit."""
        yield Question(Ask.STAT, self.path)
        yield Question(Ask.READ, self.stamp)

    def verified_sha256(self, answers: Answers) -> str | None:
        """Return the digest that the stamp vouches for, None where the file is not the one stamped."""
        stat = answers[Question(Ask.STAT, self.path)].value
        stamp = _json_map(answers[Question(Ask.READ, self.stamp)])
        if not isinstance(stat, dict) or any(stat.get(key) != stamp.get(key) for key in _IDENTITY):
            return None
        if not self.in_store and stamp.get("path") != self.path:
            return None
        digest = stamp.get("sha256")
        return digest if isinstance(digest, str) else None

    def role_var(self) -> dict[str, Json]:
        """Return the role what the module `model_file` takes."""
        return {
            "path": self.path,
            "stamp": self.stamp,
            "origin": self.origin,
            "source": self.source,
            "sha256": self.sha256,
        }


def _json_map(answer: Answer) -> Mapping[str, Json]:
    try:
        value = json.loads(answer.value) if isinstance(answer.value, str) else None
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _stored(model: Model, index: int, part: ModelFile) -> StoredFile:
    if part.origin == "host_path":
        path, stamp = part.address, f"{IN_PLACE_STAMPS}/{model.name}/{index}.json"
    else:
        path = f"{STORE}/{model.name}/{part.file_name}"
        stamp = f"{STORE}/{model.name}/.{part.file_name}.json"
    return StoredFile(model.name, path, stamp, part.origin, part.address, part.sha256 or "")


def stored_files(model: Model) -> tuple[StoredFile, ...]:
    """Return files of a model in order; llama-server is given the first and finds the others beside it."""
    return tuple(_stored(model, index, part) for index, part in enumerate(model.parts))


def catalogue(models: Iterable[Model]) -> dict[str, tuple[StoredFile, ...]]:
    """Return the files of all models by the model's name."""
    return {model.name: stored_files(model) for model in models}
