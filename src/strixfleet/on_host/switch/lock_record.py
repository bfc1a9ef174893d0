"""
The fleet's lock, as far as this host knows it: one operator, with a token that only ever rises.

It frees itself when its holder is not heard of for its length, and at a reboot. Whoever wakes up after that
holds an old token, or a lock that has run out, and is refused.
"""

from typing import Optional

from strixfleet.on_host.switch.records import JsonFile, Refused, Row, deadline, left_s, today


class Fence:
    """Who may write here."""

    def __init__(self, root: str) -> None:
        self.record = JsonFile(root, "lock.json")

    def held(self) -> Row:
        """Return the lock while somebody holds it."""
        lock = self.record.read()
        return lock if lock.get("owner") and left_s(lock) > 0 else {}

    def take(self, owner: str, length_s: float) -> int:
        """Take the lock; give its token, which is higher than any before."""
        held = self.held()
        if held:
            raise Refused(self._whose(held))
        token = int(self.record.read().get("token", 0)) + 1
        self.record.write({"owner": owner, "token": token, "since": today(), **deadline(length_s)})
        return token

    def renew(self) -> None:
        """Be heard of."""
        held = self.held()
        if held:
            self.record.write({**held, **deadline(held["length_s"])})

    def release(self, token: Optional[int], force: bool, owner: Optional[str]) -> bool:
        """Return the lock back: one's own, any by force, or that of a dead owner; its token stays known."""
        held = self.held()
        if owner is not None:
            if held and held["owner"] != owner:
                raise Refused(self._whose(held))
        elif not force:
            self.check(token, own=True)
        self.record.write({**self.record.read(), "owner": ""})
        return bool(held)

    def check(self, token: Optional[int], own: bool = False) -> None:
        """Refuse whoever does not hold the lock while somebody does, or no more; `own` work may be undone."""
        lock, held = self.record.read(), self.held()
        if token is None:
            if held:
                raise Refused(self._whose(held))
        elif token != lock.get("token"):
            raise Refused(
                "token %d is old, the lock's is %s: somebody took over" % (token, lock.get("token"))
            )
        elif not held and not own:
            raise Refused("the lock of token %d has run out" % token)

    @staticmethod
    def _whose(held: Row) -> str:
        ago = held["length_s"] - left_s(held)
        return "locked by %s since %s, heard of %.0f s ago" % (held["owner"], held["since"], ago)
