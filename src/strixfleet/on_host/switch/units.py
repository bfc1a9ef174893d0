"""The servers of this host: the enabled instances of llama-server@."""

from __future__ import annotations

import glob
import os

from .. import command, systemd
from ..envelope import NOT_RESTARTED, Refused


WANTS = (
    "etc/systemd/system/*.wants/llama-server@?*.service"  # `systemctl list-unit-files` leaves instances out
)


class Units:
    """What systemd runs from the current build."""

    def __init__(self, root: str, systemctl: str) -> None:
        self.root = root
        self.systemctl = systemctl

    def enabled(self) -> list[str]:
        """Name the instances that start at boot."""
        return sorted({os.path.basename(path) for path in glob.glob(os.path.join(self.root, WANTS))})

    def main_pid(self, name: str) -> int:
        """Return the main process of an instance; 0 where none runs."""
        return int(systemd.peek(name, ["MainPID"], self.systemctl).get("MainPID") or 0)

    def follow(self, serving: bool, block: bool) -> None:
        """Restart all instances, or stop them where no build is left; `block` waits until that is done."""
        names = self.enabled()
        if not names:
            return
        command.run([self.systemctl, "reset-failed", *names], timeout_s=None)
        verb = "restart" if serving else "stop"
        done = command.run([self.systemctl, verb, *([] if block else ["--no-block"]), *names], timeout_s=None)
        if done.code != 0:
            text = "systemctl %s %s: %s" % (verb, " ".join(names), done.err.strip()[-400:])
            raise Refused(text, NOT_RESTARTED)
