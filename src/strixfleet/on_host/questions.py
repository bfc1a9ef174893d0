"""What can be asked of a host: a closed list of read-only verbs; a new setting never touches the probe."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Ask(StrEnum):
    """
    The probe's verbs; what is absent answers None, what cannot be read answers an error.

    READ path: text of at most 256 KiB. GLOB pattern: {path: text}. NAMES directory: sorted names.
    DIGEST path: {sha256, mode, owner, group}. STAT path: {size_bytes, mtime_ns, inode, mode, owner}.
    TREE directory: {relative path: sha256, or "-> target" for a link}. LINK path: its target.
    UNIT name: systemd properties, of its main process `exe` and `config` (STRIXFLEET_CONFIG), and as `newer`
    those of its files that changed since that was started.
    PACKAGE name: installed version. USER name: {uid, groups}. SPACE path: free bytes.
    PARAMETERS module: names of its parameters, None where modinfo knows no such module.
    WRITABLE path: {path: mode and owner} of what others than root may write there and on the way to it; with
    a slash at its end all below, too. COPIES pattern: {pid: program} of what runs such a file, or a copy.
    HTTP "url[ key=path]": {status, body}. RUN name: output of a command from the probe's fixed table.
    """

    READ = "read"
    GLOB = "glob"
    NAMES = "names"
    DIGEST = "digest"
    STAT = "stat"
    TREE = "tree"
    LINK = "link"
    UNIT = "unit"
    PACKAGE = "package"
    USER = "user"
    SPACE = "space"
    HTTP = "http"
    RUN = "run"
    PARAMETERS = "parameters"
    WRITABLE = "writable"
    COPIES = "copies"


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """One thing to ask of a host."""

    verb: Ask
    subject: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the host said: a value, or the reason why it could not be read."""

    value: Json = None
    error: str | None = None


class Answers:
    """The answers of one host to one round of questions."""

    def __init__(self, answers: Mapping[Question, Answer]) -> None:
        self._answers = dict(answers)

    def __getitem__(self, question: Question) -> Answer:
        return self._answers.get(question, Answer(error="was not asked"))

    def __iter__(self) -> Iterator[Question]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def text(self, verb: Ask, subject: str) -> str | None:
        """Return a textual answer stripped of blanks, or None where absent or unread."""
        value = self[Question(verb, subject)].value
        return value.strip() if isinstance(value, str) else None

    def texts(self, pattern: str) -> dict[str, str]:
        """Return what a GLOB found as {path: text stripped of blanks}."""
        value = self[Question(Ask.GLOB, pattern)].value
        if not isinstance(value, dict):
            return {}
        return {path: text.strip() for path, text in value.items() if isinstance(text, str)}

    def to_json(self) -> list[Json]:
        """Return a stable form for recording: [[verb, subject, value, error], …]."""
        return [
            [question.verb.value, question.subject, answer.value, answer.error]
            for question, answer in sorted(self._answers.items())
        ]
