"""
The fleet's lock, as far as this host knows it: one operator, with a token that only ever rises.

It expires when its holder is not heard of for its length, and at a reboot. A holder that wakes up after that
has an old token, or an expired lock, and is refused.
"""

from __future__ import annotations

from ..envelope import FENCED, LOCK_EXPIRED, LOCKED, Refused
from .records import JsonFile, Row, deadline, left_s, today


class Fence:
    """Who may write here."""

    def __init__(self, root: str) -> None:
        self.record = JsonFile(root, "lock.json")

    def held(self) -> Row:
        """Return the lock while somebody holds it, else an empty record."""
        lock = self.record.read()
        return lock if lock.get("owner") and left_s(lock) > 0 else {}

    def take(self, owner: str, length_s: float) -> int:
        """Take the lock and return its token, which is higher than any before."""
        held = self.held()
        if held:
            raise Refused(self._whose(held), LOCKED)
        token = int(self.record.read().get("token", 0)) + 1
        self.record.write({"owner": owner, "token": token, "since": today(), **deadline(length_s)})
        return token

    def renew(self) -> None:
        """Extend the lock by its length."""
        held = self.held()
        if held:
            self.record.write({**held, **deadline(held["length_s"])})

    def release(self, token: int | None, force: bool, owner: str | None) -> bool:
        """Release the lock: one's own, any by force, or that of a dead owner; its token stays known."""
        held = self.held()
        if owner is not None:
            if held and held["owner"] != owner:
                raise Refused(self._whose(held), LOCKED)
        elif not force:
            self.check(token, own=True)
        self.record.write({**self.record.read(), "owner": ""})
        return bool(held)

    def check(self, token: int | None, own: bool = False) -> None:
        """
        Refuse a caller whose lock was taken over or has expired, and one without it while somebody holds it.

        `own` is for undoing what the caller did himself: that may be done with an expired lock, too.
        """
        lock, held = self.record.read(), self.held()
        if token is None:
            if held:
                raise Refused(self._whose(held), LOCKED)
        elif token != lock.get("token"):
            text = "token %d is old, the lock's is %s: somebody took over" % (token, lock.get("token"))
            raise Refused(text, FENCED)
        elif not held and not own:
            raise Refused("the lock of token %d has expired or was released" % token, LOCK_EXPIRED)

    @staticmethod
    def _whose(held: Row) -> str:
        ago = held["length_s"] - left_s(held)
        return "locked by %s since %s, heard of %.0f s ago" % (held["owner"], held["since"], ago)
