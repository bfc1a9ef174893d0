"""Files, folders and links that we own, and what must not be there."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from strixfleet import assets
from strixfleet.managed.things.thing import Deed, Have, Thing
from strixfleet.on_host.questions import Answers, Ask, Json, Question


@dataclass(frozen=True, slots=True)
class Template:
    """A template of ours and what it takes; rendered when the text is needed."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Render it."""
        return assets.render(self.name, **self.values)


@dataclass(frozen=True, kw_only=True)
class File(Thing):
    """A whole file with its mode and owner."""

    path: str
    source: str | Template
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"

    @property
    def content(self) -> str:
        """The whole content."""
        return self.source if isinstance(self.source, str) else self.source.text

    @property
    def sha256(self) -> str:
        """Digest of the content, in hex."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    @property
    def want(self) -> Json:
        """Digest, mode and owner."""
        return {"sha256": self.sha256, "mode": self.mode, "owner": self.owner, "group": self.group}

    def asks(self) -> Iterator[Question]:
        """Ask for digest and ownership."""
        yield Question(Ask.DIGEST, self.path)

    def read(self, answers: Answers) -> Have:
        """Take the host's word."""
        return Have.of(answers[Question(Ask.DIGEST, self.path)])

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        """Write it."""
        del answers
        yield Deed("file", self._arguments())

    def _arguments(self) -> dict[str, Json]:
        return {
            "path": self.path,
            "content": self.content,
            "mode": self.mode,
            "owner": self.owner,
            "group": self.group,
        }


@dataclass(frozen=True, kw_only=True)
class SecretFile(File):
    """A file whose content stays out of diffs, logs and digests that others can read."""

    mode: str = "0600"

    @property
    def want(self) -> Json:
        """Whether the content is the wanted one, mode and owner."""
        return {
            "content": "as in the inventory",
            "mode": self.mode,
            "owner": self.owner,
            "group": self.group,
        }

    def read(self, answers: Answers) -> Have:
        """Say whether the content is the wanted one; its digest, which could be guessed from, stays here."""
        answer = answers[Question(Ask.DIGEST, self.path)]
        if not isinstance(answer.value, dict):
            return Have.of(answer)
        same = answer.value.get("sha256") == self.sha256
        rest = {key: answer.value.get(key) for key in ("mode", "owner", "group")}
        return Have({"content": "as in the inventory" if same else "different", **rest}, answer.error)

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        """Write it, and show nothing of it."""
        del answers
        yield Deed("secret_file", self._arguments())


@dataclass(frozen=True, kw_only=True)
class Folder(Thing):
    """A folder with its mode and owner."""

    path: str
    mode: str = "0755"
    owner: str = "root"
    group: str = "root"

    @property
    def want(self) -> Json:
        """That it is a folder, its mode and owner."""
        return {"is": "directory", "mode": self.mode, "owner": self.owner, "group": self.group}

    def asks(self) -> Iterator[Question]:
        """Ask what is there; a link is not followed."""
        yield Question(Ask.DIGEST, self.path)

    def read(self, answers: Answers) -> Have:
        """Return what is there: a directory, a link's target or a file, with mode and owner."""
        answer = answers[Question(Ask.DIGEST, self.path)]
        if not isinstance(answer.value, dict):
            return Have.of(answer)
        kind = str(answer.value.get("sha256"))
        found = kind if kind == "directory" or kind.startswith("-> ") else "file"
        rest = {key: answer.value.get(key) for key in ("mode", "owner", "group")}
        return Have({"is": found, **rest}, answer.error)

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        """Make it."""
        del answers
        row = {"path": self.path, "mode": self.mode, "owner": self.owner, "group": self.group}
        yield Deed("folder", row)


@dataclass(frozen=True, kw_only=True)
class Link(Thing):
    """A symbolic link."""

    path: str
    target: str

    @property
    def want(self) -> Json:
        """Where it points."""
        return self.target

    def asks(self) -> Iterator[Question]:
        """Ask where it points."""
        yield Question(Ask.LINK, self.path)

    def read(self, answers: Answers) -> Have:
        """Take the host's word."""
        return Have.of(answers[Question(Ask.LINK, self.path)])

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        """Point it there."""
        del answers
        yield Deed("link", {"path": self.path, "target": self.target})


@dataclass(frozen=True, kw_only=True)
class Absent(Thing):
    """A path where nothing may be; `have` is the digest row of what is there."""

    path: str

    @property
    def want(self) -> Json:
        """Nothing."""
        return None

    def asks(self) -> Iterator[Question]:
        """Ask what is there."""
        yield Question(Ask.DIGEST, self.path)

    def read(self, answers: Answers) -> Have:
        """Take the host's word."""
        return Have.of(answers[Question(Ask.DIGEST, self.path)])

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        """Take it away."""
        del answers
        yield Deed("absent", {"path": self.path})
