"""Files, folders and links that we own, and what must not be there."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from strixfleet import assets
from strixfleet.managed.things.thing import Deed, Have, Thing
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question


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
class Owned(Thing):
    """What is at a path, with its mode and owner; a link is not followed."""

    path: str
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"

    @property
    def ownership(self) -> dict[str, Json]:
        """Mode and owner, as a digest row has them and as a deed takes them."""
        return {"mode": self.mode, "owner": self.owner, "group": self.group}

    def asks(self) -> Iterator[Question]:
        yield Question(Ask.DIGEST, self.path)

    def row(self, answers: Answers) -> Answer:
        """Return the digest row of what is there."""
        return answers[Question(Ask.DIGEST, self.path)]


@dataclass(frozen=True, kw_only=True)
class File(Owned):
    """A whole file with its mode and owner."""

    source: str | Template

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
        return {"sha256": self.sha256, **self.ownership}

    def read(self, answers: Answers) -> Have:
        return Have.of(self.row(answers))

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        yield Deed("file", {"path": self.path, "content": self.content, **self.ownership})


@dataclass(frozen=True, kw_only=True)
class SecretFile(File):
    """A file whose content stays out of diffs, logs and digests that others can read."""

    mode: str = "0600"

    @property
    def want(self) -> Json:
        return {"content": "as in the inventory", **self.ownership}

    def read(self, answers: Answers) -> Have:
        """Say whether the content is the wanted one; its digest, which could be guessed from, stays here."""
        answer = self.row(answers)
        if not isinstance(answer.value, dict):
            return Have.of(answer)
        same = answer.value.get("sha256") == self.sha256
        rest = {key: answer.value.get(key) for key in self.ownership}
        return Have({"content": "as in the inventory" if same else "different", **rest}, answer.error)

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        yield Deed("secret_file", {"path": self.path, "content": self.content, **self.ownership})


@dataclass(frozen=True, kw_only=True)
class Folder(Owned):
    """A folder with its mode and owner."""

    mode: str = "0755"

    @property
    def want(self) -> Json:
        return {"is": "directory", **self.ownership}

    def read(self, answers: Answers) -> Have:
        """Return what is there: a directory, a link's target or a file, with mode and owner."""
        answer = self.row(answers)
        if not isinstance(answer.value, dict):
            return Have.of(answer)
        kind = str(answer.value.get("sha256"))
        found = kind if kind == "directory" or kind.startswith("-> ") else "file"
        return Have({"is": found, **{key: answer.value.get(key) for key in self.ownership}}, answer.error)

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        yield Deed("folder", {"path": self.path, **self.ownership})


@dataclass(frozen=True, kw_only=True)
class Link(Thing):
    """A symbolic link."""

    path: str
    target: str

    @property
    def want(self) -> Json:
        return self.target

    def asks(self) -> Iterator[Question]:
        yield Question(Ask.LINK, self.path)

    def read(self, answers: Answers) -> Have:
        return Have.of(answers[Question(Ask.LINK, self.path)])

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        yield Deed("link", {"path": self.path, "target": self.target})


@dataclass(frozen=True, kw_only=True)
class Absent(Thing):
    """A path where nothing may be; `have` is the digest row of what is there."""

    path: str

    @property
    def want(self) -> Json:
        return None

    def asks(self) -> Iterator[Question]:
        yield Question(Ask.DIGEST, self.path)

    def read(self, answers: Answers) -> Have:
        return Have.of(answers[Question(Ask.DIGEST, self.path)])

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        yield Deed("absent", {"path": self.path})
