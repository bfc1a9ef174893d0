"""
The fleet's lock, as far as this host knows it: one operator, with a token that only ever rises.

It expires when its holder is not heard of for its length, and at a reboot. A holder that wakes up after that
has an old token, or an expired lock, and is refused. A record that is damaged counts as somebody's lock,
until it is removed by force.
"""

from __future__ import annotations

import time

from ..envelope import FENCED, LOCK_EXPIRED, LOCKED, Refused
from .records import LEASE, Damaged, Record, Row, deadline, has, left_s, today


HELD = {"owner": str, "token": int, "since": str, **LEASE}
UNREADABLE: Row = {
    "owner": "somebody unknown (lock.json is damaged)",
    "token": None,
    "since": "an unknown time",
    "length_s": 0.0,
    "deadline_s": 0.0,
    "boot_id": "",
}


def _valid(row: Row) -> bool:
    """Tell whether a row is a lock that is held, or one that was released, of which the token remains."""
    released = row.get("owner") == "" and isinstance(row.get("token", 0), int) and row.keys() <= HELD.keys()
    return released or has(row, HELD)


class Fence:
    """Who may write here."""

    def __init__(self, root: str) -> None:
        self.record = Record(root, "lock.json", _valid)

    def _read(self) -> Row:
        try:
            return self.record.read()
        except Damaged:
            return UNREADABLE

    def held(self) -> Row:
        """Return the lock while somebody holds it, else an empty record."""
        lock = self._read()
        return lock if lock is UNREADABLE or (lock.get("owner") and left_s(lock) > 0) else {}

    def take(self, owner: str, length_s: float) -> int:
        """Take the lock and return its token, which is higher than any before."""
        held = self.held()
        if held:
            raise Refused(self._whose(held), LOCKED)
        token = int(self._read().get("token", 0)) + 1
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
        if held is UNREADABLE and not force:
            raise Refused(self._whose(held), LOCKED)
        if owner is not None:
            if held and held["owner"] != owner:
                raise Refused(self._whose(held), LOCKED)
        elif not force:
            self.check(token, own=True)
        lock = self._read()
        if lock is UNREADABLE:
            lock = {"token": int(time.time())}  # higher than what counted up from 1
        if lock:
            self.record.write({**lock, "owner": ""})
        return bool(held)

    def check(self, token: int | None, own: bool = False) -> None:
        """
        Refuse a caller whose lock was taken over or has expired, and one without it while somebody holds it.

        `own` is for undoing what the caller did himself: that may be done with an expired lock, too.
        """
        lock, held = self._read(), self.held()
        if lock is UNREADABLE:
            if not own:
                raise Refused(self._whose(lock), LOCKED)
        elif token is None:
            if held:
                raise Refused(self._whose(held), LOCKED)
        elif token != lock.get("token"):
            text = "token %d is old, the lock's is %s: somebody took over" % (token, lock.get("token"))
            raise Refused(text, FENCED)
        elif not held and not own:
            raise Refused("the lock of token %d has expired or was released" % token, LOCK_EXPIRED)

    @staticmethod
    def _whose(held: Row) -> str:
        if held is UNREADABLE:
            return (
                "locked by %s; hint: make sure that nobody upgrades, then `strixfleet unlock`" % held["owner"]
            )
        ago = held["length_s"] - left_s(held)
        return "locked by %s since %s, heard of %.0f s ago" % (held["owner"], held["since"], ago)
