"""
Let running generations end before a server is stopped: refuse new work, then wait, up to a limit.

Killing a generation in the middle can wedge the GPU. New connections are refused by one nft table, where nft
is installed; the call that ends the switch, the timer's if no other, removes the table. Without nft new work
goes on arriving, and the wait ends at the first moment without any.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import NamedTuple

from .. import command, process
from ..http_client import Server
from .units import Units


TABLE = "strixfleet_drain"
MARK = 0x57F1  # marks our own questions, which the table lets through
KEYS = "etc/strixfleet/keys"
PAUSE_S = 0.2
ANSWER_TIMEOUT_S = 3.0
NFT_TIMEOUT_S = 20.0
RULES = """table inet %s {
  chain input {
    type filter hook input priority -10; policy accept;
    tcp dport { %s } ct state new meta mark != %d reject with tcp reset
  }
}
"""


class Running(NamedTuple):
    """One running server; its port is what new connections are refused at."""

    port: int
    server: Server


class Drain:
    """The drain of this host's servers."""

    def __init__(self, root: str, units: Units) -> None:
        self.root = root
        self.units = units

    def _running(self, unit: str) -> Running | None:
        """Read from its command line where a server listens; None where it does not run, or does not tell."""
        try:
            words = process.arguments(self.units.main_pid(unit))
            options = dict(zip(words, words[1:]))
            host, port = options.get("--host", "127.0.0.1").split(",")[0], int(options["--port"])
            key_file = os.path.join(self.root, KEYS, unit.partition("@")[2].rpartition(".")[0])
            url = "http://%s:%d" % ("[%s]" % host if ":" in host else host, port)
            return Running(port, Server(url, key_file, ANSWER_TIMEOUT_S, firewall_mark=MARK))
        except (OSError, KeyError, ValueError):
            return None

    def wait(self, limit_s: float) -> None:
        """Refuse new connections and wait until nothing runs, up to a limit."""
        found = [self._running(unit) for unit in self.units.enabled()]
        running = [one for one in found if one is not None]
        if not running or limit_s <= 0:
            return
        self._refuse_new(sorted({one.port for one in running}))
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and any(one.server.running_requests() for one in running):
            time.sleep(PAUSE_S)

    def _refuse_new(self, ports: list[int]) -> None:
        self._nft(["-f", "-"], RULES % (TABLE, ", ".join(map(str, ports)), MARK))

    def lift(self) -> None:
        """Let new connections in again."""
        if self.root == "/":
            self._nft(["delete", "table", "inet", TABLE], "")

    @staticmethod
    def _nft(words: list[str], text: str) -> None:
        program = shutil.which("nft", path=command.PATH)
        if program:
            command.attempt([program, *words], NFT_TIMEOUT_S, text=text)
