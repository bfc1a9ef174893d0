"""
Lets running generations end before a server is stopped: no new work, then wait, then a limit.

Killing a generation in the middle can wedge the GPU. New connections are turned away by one nft table, where
nft is installed; whoever ends the switch, the timer if nobody else, takes the table away. Without nft new
work goes on arriving, and the wait ends at the first moment without any.
"""

import http.client
import os
import re
import shutil
import socket
import subprocess
import time
from typing import Dict, List, Optional

from strixfleet.on_host.switch.units import Units


TABLE = "strixfleet_drain"
MARK = 0x57F1  # of our own questions, which the table lets through
KEYS = "etc/strixfleet/keys"
PAUSE_S = 0.2
RULES = """table inet %s {
  chain input {
    type filter hook input priority -10; policy accept;
    tcp dport { %s } ct state new meta mark != %d reject with tcp reset
  }
}
"""


class Server:
    """One running server, as its command line describes it."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self.host = host
        self.port = port
        self.headers = {"Authorization": "Bearer " + key} if key else {}

    def is_busy(self) -> bool:
        """Tell whether requests are being served; a server that does not say is not waited for."""
        line = http.client.HTTPConnection(self.host, self.port, timeout=3)
        try:
            line.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            line.sock.settimeout(3)
            line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
            line.sock.connect((self.host, self.port))
            line.request("GET", "/metrics", headers=self.headers)
            text = line.getresponse().read(1 << 20).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return False
        finally:
            line.close()
        found = re.search(r"^llamacpp:requests_processing\s+([0-9.]+)", text, re.MULTILINE)
        return bool(found and float(found[1]) > 0)


class Drain:
    """The drain of this host's servers."""

    def __init__(self, root: str, units: Units) -> None:
        self.root = root
        self.units = units

    def _server(self, unit: str) -> Optional[Server]:
        pid = self.units.main_pid(unit)
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as file:
                words = file.read().decode("utf-8", "replace").split("\0")
        except OSError:
            return None
        options: Dict[str, str] = dict(zip(words, words[1:]))
        host = options.get("--host", "127.0.0.1").split(",")[0]
        instance = unit.partition("@")[2].rpartition(".")[0]
        key = ""
        try:
            with open(os.path.join(self.root, KEYS, instance), encoding="utf-8") as file:
                key = file.readline().strip()
        except OSError:
            pass
        port = options.get("--port", "")
        return Server(host, int(port), key) if port.isdigit() else None

    def wait(self, limit_s: float) -> None:
        """Turn new connections away and wait until nothing runs, up to a limit."""
        servers: List[Server] = []
        for unit in self.units.enabled():
            server = self._server(unit)
            if server:
                servers.append(server)
        if not servers or limit_s <= 0:
            return
        self._turn_away(sorted({server.port for server in servers}))
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and any(server.is_busy() for server in servers):
            time.sleep(PAUSE_S)

    def _turn_away(self, ports: List[int]) -> None:
        rules = RULES % (TABLE, ", ".join(map(str, ports)), MARK)
        self._nft(["-f", "-"], rules)

    def lift(self) -> None:
        """Let new connections in again."""
        if self.root == "/":
            self._nft(["delete", "table", "inet", TABLE], "")

    @staticmethod
    def _nft(words: List[str], text: str) -> None:
        program = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin")
        if program:
            quiet = subprocess.DEVNULL
            subprocess.run([program, *words], input=text, text=True, stdout=quiet, stderr=quiet, check=False)
