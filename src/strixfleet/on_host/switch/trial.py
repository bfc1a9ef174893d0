"""
Activation on trial: switch, renew, confirm, or go back.

What goes back by itself is decided here and nowhere else: a trial whose lease is over, or one that a reboot
interrupted, because the build may be the reboot's cause. Every verb may be interrupted anywhere: the record
of the trial is written before anything is switched and removed after everything is back, so that the next
call, the timer's if no other, brings it to the same end. Without a lease the record is removed with the call.
A return whose servers did not restart keeps its record, so that the timer tries again. A record that is
damaged means *go back*: to the previous build, whatever the trial was.
"""

from __future__ import annotations

import argparse
import contextlib

from ..envelope import (
    DAMAGED,
    IN_USE,
    INTERRUPTED,
    LEASE_OVER,
    NO_WAY_BACK,
    NOT_ON_TRIAL,
    ON_TRIAL,
    UNEXPECTED_BUILD,
    Refused,
)
from .builds import Builds
from .drain import Drain
from .records import LEASE, NO_ROOM, Damaged, HostLock, Record, Row, deadline, has, left_s, now_s
from .units import Units


SWITCH_S = 120.0  # a switch without a lease that is not over by then was interrupted
NAME = (str, type(None))
BEFORE_SEALS = {"from": NAME, "to": str, "previous": NAME, "token": (int, type(None)), "final": bool, **LEASE}
PENDING = {**BEFORE_SEALS, "begun_s": float}


def _valid(row: Row) -> bool:
    """Tell whether a row is the record of a trial; builds are names of folders, not paths."""
    names = [row.get(key) or "" for key in ("from", "to", "previous")]
    return (has(row, PENDING) or has(row, BEFORE_SEALS)) and not any(
        "/" in name or name == ".." for name in names
    )


def _same(one: Row, other: Row) -> bool:
    """Tell whether two records are of one trial, whatever its lease is now."""
    return {**one, **dict.fromkeys(LEASE)} == {**other, **dict.fromkeys(LEASE)}


class Trial:
    """The switch of a host, with what is recorded of it."""

    def __init__(self, root: str, systemctl: str, alone: HostLock) -> None:
        self.alone = alone
        self.builds = Builds(root)
        self.units = Units(root, systemctl)
        self.drain = Drain(root, self.units)
        self.record = Record(root, "activation.json", _valid)

    def pending(self) -> Row:
        """
        Return the trial that goes on; an empty row where none does.

        Of a damaged record nothing is believed. It says: back to the previous build, at once. That both links
        name it then makes this come out the same however often it is begun.
        """
        try:
            return self.record.read()
        except Damaged:
            previous = self.builds.link("previous")
            previous = previous if previous in self.builds.present() else None
            fate = {"from": previous, "to": self.builds.link("current") or "", "previous": previous}
            lease = {"deadline_s": 0.0, "length_s": 0.0, "boot_id": ""}
            return {**fate, **lease, "token": None, "final": True, "damaged": True}

    def _begin(self, fate: Row, lease_s: float) -> None:
        self.record.write({**fate, **deadline(lease_s)})

    def _end(self, pending: Row) -> None:
        """Remove the record of a trial, unless another call did, and another trial began since."""
        now = self.pending()
        if _same(now, pending) or now.get("damaged"):
            self.record.remove()

    def _refuse_over(self, pending: Row) -> None:
        """Refuse what only a trial that goes on allows."""
        if pending.get("damaged"):
            text = "%s is damaged, so this host goes back to %s"
            raise Refused(text % (self.record.path, pending["from"] or "serving nothing"), DAMAGED)
        if pending and left_s(pending) <= 0:
            raise Refused("the lease of %s is over" % pending["to"], LEASE_OVER)

    def activate(self, build: str, given: argparse.Namespace) -> bool:
        """Make a build current and remember the one before; return whether anything changed."""
        builds, pending = self.builds, self.pending()
        builds.verify(build, given.retry)
        current = builds.link("current")
        if pending and pending["to"] != build:
            raise Refused("%s is on trial here" % pending["to"], ON_TRIAL)
        self._refuse_over(pending)
        if current == build:
            if pending:
                self._serve(given, pending)
            return bool(pending)
        if given.expect is not None and (current or "none") != given.expect:
            raise Refused("current is %s, not %s" % (current or "none", given.expect), UNEXPECTED_BUILD)
        fate = self._fate(current, build, builds.link("previous"), given.token, final=not given.lease)
        self._begin(fate, given.lease or SWITCH_S)
        if current is not None:
            self._drain(given.drain, fate)
            self._begin(fate, given.lease or SWITCH_S)
            builds.point("previous", current)
        builds.point("current", build)
        self._serve(given, fate)
        return True

    @staticmethod
    def _fate(back: str | None, to: str, previous: str | None, token: int | None, *, final: bool) -> Row:
        """Say what a trial is about: it goes from a build to another, and `previous` was the one before."""
        fate = {"from": back, "to": to, "previous": previous, "token": token, "final": final}
        return {**fate, "begun_s": now_s()}

    def _drain(self, limit_s: float, fate: Row) -> None:
        """Wait for running generations without the lock; refuse to go on where another call ended this."""
        with self.alone.paused():
            self.drain.wait(limit_s)
        if not _same(self.pending(), fate):
            self.drain.lift()
            raise Refused("somebody ended this while it waited for running generations", INTERRUPTED)

    def _serve(self, given: argparse.Namespace, fate: Row) -> None:
        try:
            with self.alone.paused():
                self.units.follow(serving=True, block=True)
        finally:
            self.drain.lift()
        if not given.lease:
            self._end(fate)

    def renew(self, lease_s: float | None) -> bool:
        """Extend a trial."""
        pending = self.pending()
        if not pending:
            return False
        self._refuse_over(pending)
        self.record.write({**pending, **deadline(lease_s or pending["length_s"])})
        return True

    def confirm(self, build: str) -> bool:
        """End a trial well; a second call changes nothing."""
        pending, current = self.pending(), self.builds.link("current")
        if not pending and current == build:
            return False
        if pending.get("damaged"):
            self._refuse_over(pending)
        if not pending or pending["to"] != build or current != build:
            raise Refused("%s is not on trial here" % build, NOT_ON_TRIAL)
        self._refuse_over(pending)
        self.builds.remember(build, "", bad=False)
        self.record.remove()
        return True

    def go_back(self, reason: str, if_due: bool, forget: bool = False, wait: bool = True) -> bool:
        """End a trial badly: the old build serves again, or nothing where nothing did."""
        pending = self.pending()
        if not pending or (if_due and left_s(pending) > 0):
            return False
        self._take_back(self._decided(pending), reason, forget, wait)
        return True

    def _decided(self, pending: Row) -> Row:
        """Record that a trial is over: if this call does not come to its end, the timer goes on with it."""
        over = {"begun_s": now_s(), **pending, "deadline_s": 0.0}
        damaged = over.pop("damaged", False)
        try:
            if damaged:
                self.record.replace(over)
            elif left_s(pending) > 0:
                self.record.write(over)
        except OSError:  # a full disk keeps no bad build in service
            return pending
        return over

    def _take_back(self, pending: Row, reason: str, forget: bool = False, wait: bool = True) -> None:
        """Point the links where they were, restart, and only then forget that it was to be done."""
        if self.builds.link("current") == pending["to"] and not pending["final"] and not forget:
            with contextlib.suppress(OSError):  # a full disk keeps no bad build in service
                self.builds.remember(pending["to"], reason)
        self.builds.go_back(pending["from"], pending["previous"])
        try:
            with self.alone.paused():
                self.units.follow(serving=pending["from"] is not None, block=wait)
        finally:
            self.drain.lift()
        self._end(pending)

    def spell(self, build: str | None) -> bool:
        """Settle how a build spells its options; without a name, the current and the previous one."""
        pending, named = self.pending(), [self.builds.link(name) for name in ("current", "previous")]
        chosen = [build] if build else [name for name in named if name]
        if pending and pending["to"] in chosen:
            self._refuse_over(pending)
        changed = False
        for one in chosen:
            try:
                with self.alone.paused():  # a help that hangs keeps no lease from its end
                    spelling = self.builds.spelling(one)
                changed = self.builds.spell(one, spelling) or changed
            except Refused:
                if one == chosen[0]:  # the one that was named, or the current one
                    raise
        return changed

    def discard(self, build: str) -> bool:
        """Remove a staged build that is not wanted; refuse one that a link or a trial names."""
        builds, pending = self.builds, self.pending()
        if pending.get("damaged"):
            self._refuse_over(pending)
        used = {builds.link("current"), builds.link("previous"), pending.get("from"), pending.get("to")}
        if build in used:
            raise Refused("%s is in use" % build, IN_USE)
        return builds.discard(build)

    def rollback(self, given: argparse.Namespace) -> bool:
        """Switch to the previous build and remember the current one as bad; the timer ends a broken call."""
        builds = self.builds
        if self.pending():
            return self.go_back(given.reason, if_due=False)
        current, previous = builds.link("current"), builds.link("previous")
        if previous is None or current is None or previous == current:
            raise Refused("there is no previous build to roll back to", NO_WAY_BACK)
        builds.verify(previous, given.retry)
        backends = [str(builds.manifest(one).get("backend")) for one in (previous, current)]
        if backends[0] != backends[1]:
            text = "the previous build is for %s, the current one for %s" % tuple(backends)
            raise Refused(text, NO_WAY_BACK)
        fate = self._fate(previous, current, current, given.token, final=False)
        try:
            self._begin(fate, given.drain + 1.0)
        except OSError as problem:
            if problem.errno not in NO_ROOM:
                raise
            self.drain.wait(given.drain)  # with the lock: no record keeps others away
            self._take_back(fate, given.reason)
            return True
        self._drain(given.drain, fate)
        return self.go_back(given.reason, if_due=False)
