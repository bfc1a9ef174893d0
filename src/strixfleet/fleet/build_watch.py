"""Show how far a long build is, by looking at the progress file that the build keeps on its host."""

import threading
from collections.abc import Mapping
from typing import Any

from strixfleet.errors import FleetError
from strixfleet.fleet.play_progress import PROGRESS, PlayProgress
from strixfleet.fleet.progress import step
from strixfleet.fleet.session import ProbedHost
from strixfleet.hosts.connections import Connections
from strixfleet.hosts.fan_out import fan_out
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.managed.llama_cpp.aspect import build_for


BUILD_TASK = "Build llama.cpp"
INTERVAL_S = 10.0


def progress_file(seen: ProbedHost) -> str | None:
    """Return the path of the progress file of a host's build, None where nothing is pinned."""
    build = build_for(seen.state.host.settings, seen.state.machine)
    return f"/var/lib/strixfleet/build/{build.id}/progress" if build else None


class BuildWatch:
    """Listen to a play; while its build task runs, say every few seconds how far each host is."""

    def __init__(
        self, fleet: Fleet, connections: Connections, seen: Mapping[str, ProbedHost], listener: PlayProgress
    ) -> None:
        self._fleet = fleet
        self._connections = connections
        self._files = {name: path for name, one in seen.items() if (path := progress_file(one))}
        self._listener = listener
        self._finished = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, event: dict[str, Any]) -> None:
        """Pass an event on, and start or stop watching."""
        if event["event"] in {"task", "play", "stats"}:
            self.close()
        if event["event"] == "task" and event["name"].endswith(BUILD_TASK):
            self._finished = threading.Event()
            self._thread = threading.Thread(target=self._watch, args=(self._finished,), daemon=True)
            self._thread.start()
        self._listener(event)

    def close(self) -> None:
        """Stop watching."""
        self._finished.set()
        if self._thread is not None:
            self._thread.join(timeout=INTERVAL_S)
            self._thread = None

    def _watch(self, finished: threading.Event) -> None:
        hosts = [host for host in self._fleet.hosts if host.name in self._files]
        said: dict[str, str] = {}
        while not finished.wait(INTERVAL_S):
            for name, line in fan_out(hosts, self._last_line).items():
                if isinstance(line, FleetError) or not line or said.get(name) == line:
                    continue
                said[name] = line
                step(f"  {name}: building: {line.removeprefix(PROGRESS)}")

    def _last_line(self, host: Host) -> str:
        argv = ["tail", "-n", "1", self._files[host.name]]
        found = self._connections.to(host).run(argv, timeout_s=10)
        return found.stdout.strip() if found.exit_code == 0 else ""
