"""What systemd says of units, and the journal of one."""

from __future__ import annotations

import os
from typing import Iterable, Mapping, Sequence

from . import command, process
from .plain_text import plain


TIMEOUT_S = 20.0
AT_ONCE = (
    "/etc/systemd/system.control/",
    "/run/systemd/system.control/",
)  # `systemctl set-property` writes these


def show(
    units: Sequence[str], properties: Iterable[str], systemctl: str = "systemctl"
) -> dict[str, dict[str, str]]:
    """Return the properties of each unit, in one call; a unit that does not exist has LoadState=not-found."""
    argv = [systemctl, "show", "--property=" + ",".join(properties), "--", *units]
    done = command.run(argv, TIMEOUT_S)
    if done.code != 0:
        raise OSError(done.err.strip() or "systemctl show failed with exit code %d" % done.code)
    blocks = [block for block in done.out.split("\n\n") if block.strip()]
    return {
        unit: dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for unit, block in zip(units, blocks)
    }


def changed_since_start(shown: Mapping[str, str], pid: int) -> list[str]:
    """
    Name the files of a unit that changed since its process was started, and the folders of its drop-ins.

    The process may run what they said before, even if they say now what they should.
    """
    drop_ins = [path for path in shown.get("DropInPaths", "").split() if not path.startswith(AT_ONCE)]
    folders = {os.path.dirname(path) for path in drop_ins}
    started = process.started_at(pid)
    paths = {shown.get("FragmentPath", ""), *drop_ins, *folders}
    return sorted(path for path in paths if process.changed_after(path, started))


def peek(unit: str, properties: Iterable[str], systemctl: str = "systemctl") -> dict[str, str]:
    """Return the properties of one unit; none where systemd does not answer, for callers that ask again."""
    try:
        return show([unit], properties, systemctl).get(unit, {})
    except OSError:
        return {}


def journal(unit: str, lines: int, since_s: int | None = None) -> str:
    """Return the last lines of a unit's journal, safe to show; nothing where it cannot be read."""
    argv = ["journalctl", "--unit", unit, "--lines", str(lines), "--no-pager", "--quiet", "--output", "cat"]
    span = [] if since_s is None else ["--since", "@%d" % since_s]
    return plain(command.attempt([*argv, *span], TIMEOUT_S).out.strip())
