"""
Activation on trial: switch, renew, confirm, or go back.

What goes back by itself is decided here and nowhere else: a trial whose lease is over, or one that a reboot
interrupted, because the build may be the reboot's cause. Every verb may be interrupted anywhere: the record
of the trial is written before anything is switched and removed after everything is back, so that the next
call, the timer's if no other, brings it to the same end. Without a lease the record is removed with the call.
"""

from __future__ import annotations

import argparse
import contextlib

from ..envelope import (
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
from .records import HostLock, JsonFile, Row, deadline, left_s
from .units import Units


SWITCH_S = 120.0  # a switch without a lease that is not over by then was interrupted


class Trial:
    """The switch of a host, with what is recorded of it."""

    def __init__(self, root: str, systemctl: str, alone: HostLock) -> None:
        self.alone = alone
        self.builds = Builds(root)
        self.units = Units(root, systemctl)
        self.drain = Drain(root, self.units)
        self.record = JsonFile(root, "activation.json")

    def activate(self, build: str, given: argparse.Namespace) -> bool:
        """Make a build current and remember the one before; return whether anything changed."""
        builds, pending = self.builds, self.record.read()
        builds.verify(build, given.retry)
        current = builds.link("current")
        if pending and pending["to"] != build:
            raise Refused("%s is on trial here" % pending["to"], ON_TRIAL)
        if current == build:
            if pending:
                self._serve(given)
            return bool(pending)
        if given.expect is not None and (current or "none") != given.expect:
            raise Refused("current is %s, not %s" % (current or "none", given.expect), UNEXPECTED_BUILD)
        fate = {"from": current, "to": build, "previous": builds.link("previous"), "token": given.token}
        fate["final"] = not given.lease
        self.record.write({**fate, **deadline(given.lease or SWITCH_S)})
        if current is not None:
            self._drain(given.drain, fate)
            self.record.write({**fate, **deadline(given.lease or SWITCH_S)})
            builds.point("previous", current)
        builds.point("current", build)
        self._serve(given)
        return True

    def _drain(self, limit_s: float, fate: Row) -> None:
        """Wait for running generations without the lock; refuse to go on where another call ended this."""
        with self.alone.paused():
            self.drain.wait(limit_s)
        pending = self.record.read()
        if any(pending.get(key) != value for key, value in fate.items()):
            self.drain.lift()
            raise Refused("somebody ended this while it waited for running generations", INTERRUPTED)

    def _serve(self, given: argparse.Namespace) -> None:
        try:
            with self.alone.paused():
                self.units.follow(serving=True, block=True)
        finally:
            self.drain.lift()
        if not given.lease:
            self.record.remove()

    def renew(self, lease_s: float | None) -> bool:
        """Extend a trial."""
        pending = self.record.read()
        if not pending:
            return False
        if left_s(pending) <= 0:
            raise Refused("the lease of %s is over" % pending["to"], LEASE_OVER)
        self.record.write({**pending, **deadline(lease_s or pending["length_s"])})
        return True

    def confirm(self, build: str) -> bool:
        """End a trial well; a second call changes nothing."""
        pending, current = self.record.read(), self.builds.link("current")
        if not pending and current == build:
            return False
        if not pending or pending["to"] != build or current != build:
            raise Refused("%s is not on trial here" % build, NOT_ON_TRIAL)
        if left_s(pending) <= 0:
            raise Refused("the lease of %s is over" % build, LEASE_OVER)
        self.builds.remember(build, "", bad=False)
        self.record.remove()
        return True

    def go_back(self, reason: str, if_due: bool, forget: bool = False) -> bool:
        """End a trial badly: the old build serves again, or nothing where nothing did."""
        pending = self.record.read()
        if not pending or (if_due and left_s(pending) > 0):
            return False
        if self.builds.link("current") == pending["to"] and not pending["final"] and not forget:
            with contextlib.suppress(OSError):  # a full disk keeps no bad build in service
                self.builds.remember(pending["to"], reason)
        self.builds.point("current", pending["from"])
        self.builds.point("previous", pending["previous"])
        try:
            with self.alone.paused():
                self.units.follow(serving=pending["from"] is not None, block=not if_due)
        finally:
            self.drain.lift()
            self.record.remove()
        return True

    def spell(self, build: str | None) -> bool:
        """Settle how a build spells its options; without a name, the current and the previous one."""
        pending, named = self.record.read(), [self.builds.link(name) for name in ("current", "previous")]
        chosen = [build] if build else [name for name in named if name]
        if pending and pending["to"] in chosen and left_s(pending) <= 0:
            raise Refused("the lease of %s is over" % pending["to"], LEASE_OVER)
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
        builds, pending = self.builds, self.record.read()
        used = {builds.link("current"), builds.link("previous"), pending.get("from"), pending.get("to")}
        if build in used:
            raise Refused("%s is in use" % build, IN_USE)
        return builds.discard(build)

    def rollback(self, given: argparse.Namespace) -> bool:
        """Switch to the previous build and remember the current one as bad; the timer ends a broken call."""
        builds = self.builds
        if self.record.read():
            return self.go_back(given.reason, if_due=False)
        current, previous = builds.link("current"), builds.link("previous")
        if previous is None or current is None or previous == current:
            raise Refused("there is no previous build to roll back to", NO_WAY_BACK)
        builds.verify(previous, given.retry)
        backends = [str(builds.manifest(one).get("backend")) for one in (previous, current)]
        if backends[0] != backends[1]:
            text = "the previous build is for %s, the current one for %s" % tuple(backends)
            raise Refused(text, NO_WAY_BACK)
        fate = {"from": previous, "to": current, "previous": current, "token": given.token}
        fate["final"] = False
        self.record.write({**fate, **deadline(given.drain + 1.0)})
        self._drain(given.drain, fate)
        return self.go_back(given.reason, if_due=False)
