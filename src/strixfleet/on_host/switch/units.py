"""The servers of this host: the enabled instances of llama-server@."""

import glob
import os
import subprocess
from typing import List

from strixfleet.on_host.switch.records import Refused


WANTS = (
    "etc/systemd/system/*.wants/llama-server@?*.service"  # `systemctl list-unit-files` leaves instances out
)


class Units:
    """What systemd runs from the current build."""

    def __init__(self, root: str, systemctl: str) -> None:
        self.root = root
        self.systemctl = systemctl

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [self.systemctl, *words]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, text=True)

    def enabled(self) -> List[str]:
        """Name them."""
        return sorted({os.path.basename(path) for path in glob.glob(os.path.join(self.root, WANTS))})

    def main_pid(self, name: str) -> int:
        """Return the process of one; 0 where none runs."""
        shown = self._run("show", "--property=MainPID", "--value", "--", name).stdout.strip()
        return int(shown) if shown.isdigit() else 0

    def follow(self, serving: bool, block: bool) -> None:
        """Restart them, or stop them where no build is left; not waiting where systemd may wait for us."""
        names = self.enabled()
        if not names:
            return
        self._run("reset-failed", *names)
        verb = "restart" if serving else "stop"
        done = self._run(verb, *([] if block else ["--no-block"]), *names)
        if done.returncode:
            raise Refused("systemctl %s %s: %s" % (verb, " ".join(names), done.stderr.strip()[-400:]))
