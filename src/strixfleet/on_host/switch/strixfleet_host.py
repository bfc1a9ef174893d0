#!/usr/bin/python3 -B
"""
strixfleet-host: the one program that switches which llama.cpp build a host runs.

    status
    activate BUILD_ID [--expect BUILD_ID|none] [--lease S] [--retry] [--drain S]
    renew [--lease S]     confirm BUILD_ID     return [--if-due] [--at-boot] [--reason TEXT] [--forget]
    rollback [--retry] [--drain S]             discard BUILD_ID               spell [BUILD_ID]
    lock --owner TEXT [--ttl S]                unlock [--force|--owner TEXT]

Playbook, controller, timer and boot call it alike. It prints one line of JSON, the envelope of envelope.py;
the keys beside `data` are for callers of the first version. It holds a lock while it writes, and switches by
renaming a link, so that a reader sees the old build or the new one. A build whose files are not what its
manifest says is refused, and so is a ref that was returned or rolled back, unless --retry is given. With
--lease an activation is a trial: unless it is confirmed, the timer takes it back once the lease is over, and
the next boot before any server starts (--at-boot: without waiting for servers, which wait for it).
`spell` writes beside a build what it calls the options that releases spell differently (option_aliases.py).
Before servers stop, new connections are refused and running generations end, for --drain seconds at most.
--token N is the fleet lock's: an old one is refused. Standard library of Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Callable

# Installed it runs as a script, which has no package to import from relatively.
from strixfleet.on_host.envelope import answered
from strixfleet.on_host.switch.lock_record import Fence
from strixfleet.on_host.switch.records import HostLock, Row, left_s
from strixfleet.on_host.switch.trial import Trial


SCHEMA = "strixfleet/host/1"
UNTOLD: Row = {"current": None, "previous": None, "builds": [], "pending": None, "refused": [], "lock": None}
VERBS = ("status", "activate", "renew", "confirm", "return", "rollback", "discard", "spell", "lock", "unlock")


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="strixfleet-host", description="Switch llama.cpp builds.")
    parser.add_argument("--root", default="/", help=argparse.SUPPRESS)
    parser.add_argument("--systemctl", default="systemctl", help=argparse.SUPPRESS)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = {name: verbs.add_parser(name) for name in VERBS}
    for name in VERBS:
        verb[name].add_argument("--token", type=int)
    for name in ("activate", "confirm", "discard"):
        verb[name].add_argument("build")
    verb["spell"].add_argument("build", nargs="?")
    for name in ("activate", "renew"):
        verb[name].add_argument("--lease", type=float)
    for name in ("activate", "rollback"):
        verb[name].add_argument("--retry", action="store_true")
        verb[name].add_argument("--drain", type=float, default=30.0)
    verb["activate"].add_argument("--expect")
    verb["return"].add_argument("--if-due", action="store_true")
    verb["return"].add_argument("--at-boot", action="store_true")
    verb["return"].add_argument("--reason", default="the lease ran out")
    verb["return"].add_argument("--forget", action="store_true")
    verb["rollback"].add_argument("--reason", default="rolled back")
    verb["lock"].add_argument("--owner", required=True)
    verb["unlock"].add_argument("--owner")
    verb["lock"].add_argument("--ttl", type=float, default=45.0)
    verb["unlock"].add_argument("--force", action="store_true")
    return parser.parse_args(argv)


def status(trial: Trial, fence: Fence) -> Row:
    """Return what is current, on trial, refused and locked, and which builds there are."""
    pending, held = trial.pending(), fence.held()
    return {
        "current": trial.builds.link("current"),
        "previous": trial.builds.link("previous"),
        "builds": trial.builds.present(),
        "pending": {**pending, "left_s": round(left_s(pending), 1)} if pending else None,
        "refused": trial.builds.bad(),
        "lock": {**held, "left_s": round(left_s(held), 1)} if held else None,
    }


def go_back(trial: Trial, fence: Fence, given: argparse.Namespace) -> bool:
    """End a trial badly, if its lease is over or somebody with the right to says so."""
    pending = trial.pending()
    if not given.if_due:
        fence.check(given.token, own=pending.get("token") == given.token)
    changed = trial.go_back(given.reason, given.if_due, given.forget, wait=not given.at_boot)
    if changed:  # <4> is journald's mark of a warning
        print("<4>%s: %s; back to %s" % (pending["to"], given.reason, pending["from"]), file=sys.stderr)
    return changed


def act(trial: Trial, fence: Fence, given: argparse.Namespace) -> Row:
    """Do what is asked, while no other call writes."""
    if given.verb == "lock":
        return {"token": fence.take(given.owner, given.ttl)}
    if given.verb == "unlock":
        return {"changed": fence.release(given.token, given.force, given.owner)}
    if given.verb == "return":
        return {"changed": go_back(trial, fence, given)}
    fence.check(given.token)
    trial.builds.check_links()
    if given.verb == "renew":
        fence.renew()
    deeds: dict[str, Callable[[], bool]] = {
        "activate": lambda: trial.activate(given.build, given),
        "renew": lambda: trial.renew(given.lease),
        "confirm": lambda: trial.confirm(given.build),
        "discard": lambda: trial.discard(given.build),
        "spell": lambda: trial.spell(given.build),
        "rollback": lambda: trial.rollback(given),
    }
    return {"changed": deeds[given.verb]()}


def main(argv: list[str]) -> int:
    """Do what is asked and print one JSON line; return 0 for done, 1 for not done; argparse ends with 2."""
    given = arguments(argv)
    alone = HostLock(given.root)
    trial, fence = Trial(given.root, given.systemctl, alone), Fence(given.root)

    def locked() -> Row:
        if given.verb == "status":
            return {}
        with alone:
            return act(trial, fence, given)

    done = answered(locked)
    told = answered(lambda: status(trial, fence))
    sound = answered(trial.builds.check_links)
    data = {"changed": False, **(done.data or {}), **(told.data or UNTOLD)}
    done = next((one for one in (done, told, sound) if not one.ok), done)
    first_version = {**data, "schema": SCHEMA, "error": done.text or None}
    print(json.dumps({**first_version, **done._replace(data=data)._asdict()}, sort_keys=True))
    return 0 if done.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
