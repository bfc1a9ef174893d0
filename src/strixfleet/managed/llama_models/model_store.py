"""Where model files are on a host, and how a stamp beside each spares an audit from reading 60 GB."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from strixfleet.inventory.schema.parts import Model, ModelFile
from strixfleet.managed.host_documents import json_map
from strixfleet.on_host.questions import Answers, Ask, Json, Question


STORE = "/var/lib/strixfleet/models"
IN_PLACE_STAMPS = "/var/lib/strixfleet/state/models"
UNVERIFIED = "not verified"
_IDENTITY = ("size_bytes", "mtime_ns", "inode")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """
    One file of a model: llama-server reads it at `path`; `stamp` notes that it was verified.

    The stamp holds `{path, sha256, size_bytes, mtime_ns, inode}` as they were when the digest was computed.
    """

    model: str
    path: str
    stamp: str
    origin: str
    source: str
    sha256: str

    @property
    def in_store(self) -> bool:
        """Tell whether the file is in our store; a file with `host_path` is used where it is."""
        return self.origin != "host_path"

    @property
    def item_id(self) -> str:
        """Return the audit item's id."""
        return f"llama_models:{self.path}"

    def questions(self) -> Iterator[Question]:
        """Ask for the file's identity and its stamp; an audit never reads the content."""
        yield Question(Ask.STAT, self.path)
        yield Question(Ask.READ, self.stamp)

    def verified_sha256(self, answers: Answers) -> str | None:
        """Return the digest in the stamp, or None where the file is not the one that was stamped."""
        stat = answers[Question(Ask.STAT, self.path)].value
        stamp = json_map(answers[Question(Ask.READ, self.stamp)].value)
        if not isinstance(stat, dict) or any(stat.get(key) != stamp.get(key) for key in _IDENTITY):
            return None
        if not self.in_store and stamp.get("path") != self.path:
            return None
        digest = stamp.get("sha256")
        return digest if isinstance(digest, str) else None

    def role_var(self) -> dict[str, Json]:
        """Return what the module `model_file` takes."""
        return {
            "path": self.path,
            "stamp": self.stamp,
            "origin": self.origin,
            "source": self.source,
            "sha256": self.sha256,
        }


def _stored(model: Model, index: int, part: ModelFile) -> StoredFile:
    if part.origin == "host_path":
        path, stamp = part.address, f"{IN_PLACE_STAMPS}/{model.name}/{index}.json"
    else:
        path = f"{STORE}/{model.name}/{part.file_name}"
        stamp = f"{STORE}/{model.name}/.{part.file_name}.json"
    return StoredFile(model.name, path, stamp, part.origin, part.address, part.sha256 or "")


def stored_files(model: Model) -> tuple[StoredFile, ...]:
    """Return a model's files in order; llama-server is given the first and finds the others beside it."""
    return tuple(_stored(model, index, part) for index, part in enumerate(model.parts))


def catalogue(models: Iterable[Model]) -> dict[str, tuple[StoredFile, ...]]:
    """Return the files of all models, by the model's name."""
    return {model.name: stored_files(model) for model in models}
