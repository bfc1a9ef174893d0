"""A file that we own on the host: one statement of path, content, mode and owner for role and audit alike."""

import hashlib
from dataclasses import dataclass

from strixfleet.findings.items import Cost, Item, Observed
from strixfleet.on_host.questions import Answers, Ask, Json, Question


@dataclass(frozen=True, slots=True)
class ManagedFile:
    """A whole file; `secret` keeps its content out of diffs and logs, never out of the host."""

    path: str
    content: str
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"
    secret: bool = False
    cost: Cost = Cost.NONE

    @property
    def sha256(self) -> str:
        """Digest of the content, in hex."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    def question(self) -> Question:
        """Ask for the file's digest and ownership."""
        return Question(Ask.DIGEST, self.path)

    def item(self, aspect: str) -> Item:
        """Say what must be true of the file."""
        want: dict[str, Json] = {
            "sha256": self.sha256,
            "mode": self.mode,
            "owner": self.owner,
            "group": self.group,
        }
        return Item(f"{aspect}:{self.path}", want, cost=self.cost)

    def observe(self, aspect: str, answers: Answers) -> Observed:
        """Say what is true of it."""
        answer = answers[self.question()]
        return Observed(f"{aspect}:{self.path}", answer.value, answer.error)

    def role_var(self) -> dict[str, Json]:
        """Return what a role hands to `copy`."""
        return {
            "path": self.path,
            "content": self.content,
            "mode": self.mode,
            "owner": self.owner,
            "group": self.group,
        }
