"""Watch the servers of one host: do they come up, do they stay up, how long did callers wait."""

import threading
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from strixfleet.errors import FleetError, ProbeFailed
from strixfleet.hosts.host_code import program_argv, read_data, read_shape
from strixfleet.hosts.reach import remote_for
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.llama_server.server_command import listening
from strixfleet.managed.llama_server.server_unit import unit_name
from strixfleet.on_host.plain_text import plain
from strixfleet.on_host.questions import Json


LOAD_S = 300.0
MARGIN_S = 60.0
COUNT_LIMIT_S = 3600.0
FAILURE = "cannot be watched"


class _Row(TypedDict):
    """How one server fared; see on_host/watch.py."""

    problem: str
    log: str
    invocation: str
    restarts: int
    up_s: float


_ROWS: TypeAdapter[dict[str, _Row]] = TypeAdapter(dict[str, _Row])


class Watch:
    """One host's servers, asked on the host itself."""

    def __init__(self, host: Host, known_hosts: str) -> None:
        self._host = host
        self._known_hosts = known_hosts
        self._counted: float | None = None
        self._thread: threading.Thread | None = None
        self.units: dict[str, Json] = {
            unit_name(one.name): listening(one).url for one in host.settings.llama_server_instances
        }

    def ask(self, remote: Remote, what: str, timeout_s: float, **more: Json) -> dict[str, Any]:
        """Run one operation of on_host/watch.py."""
        request: dict[str, Json] = {"do": what, "units": dict(self.units), **more}
        argv = program_argv("watch", request, self._host.connection.python or "python3")
        done = remote.run(argv, timeout_s=timeout_s)
        return read_data(done.stdout, done.stderr, host=self._host.name, failure=FAILURE)

    def _rows(self, remote: Remote, what: str, timeout_s: float, **more: Json) -> dict[str, Any]:
        """Return one row for each server: none that is missing counts as well."""
        data = self.ask(remote, what, timeout_s, **more)
        rows = read_shape(_ROWS, data, host=self._host.name, failure=FAILURE)
        if rows.keys() != self.units.keys():
            raise ProbeFailed(
                f"{FAILURE}: it answered for other servers than were asked about", where=self._host.name
            )
        return {unit: dict(row) for unit, row in rows.items()}

    def settle(self, remote: Remote, limit_s: float = LOAD_S) -> dict[str, Any]:
        """Wait until all servers are healthy or are not going to be; one row each."""
        most_s = limit_s * max(1, len(self.units)) + MARGIN_S
        return self._rows(remote, "settle", most_s, limit_s=limit_s)

    def settled(self, remote: Remote) -> str:
        """Wait in the same way; return what is wrong, with the log's last lines."""
        return problems(self.settle(remote))

    def stay(self, remote: Remote, rows: Mapping[str, Any], up_s: float) -> dict[str, Any]:
        """Wait until all servers have run for a while, in the same run that `settle` saw."""
        since: dict[str, Json] = {unit: row["invocation"] for unit, row in rows.items()}
        return self._rows(remote, "watch", up_s * 2 + MARGIN_S, since=since, up_s=up_s)

    def start_counting(self, lease_s: float) -> None:
        """Begin to count the time without an answer, over a connection of its own."""
        if self.units:
            self._thread = threading.Thread(target=self._count, args=(lease_s,), daemon=True)
            self._thread.start()

    def _count(self, lease_s: float) -> None:
        remote = remote_for(self._host, self._known_hosts)
        limit_s = COUNT_LIMIT_S + lease_s
        try:
            answer = self.ask(remote, "downtime", limit_s + MARGIN_S, limit_s=limit_s)
            self._counted = float(answer["downtime_s"])
        except (FleetError, KeyError, ValueError, TypeError):
            return
        finally:
            remote.close()

    def counted(self, wait_s: float = 10.0) -> float | None:
        """Return the seconds without an answer; None where the count was lost."""
        if self._thread is not None:
            self._thread.join(timeout=wait_s)
        return self._counted


def problems(rows: Mapping[str, Any]) -> str:
    """Say what is wrong with which server, with the last lines of its log."""
    found = []
    for unit, row in rows.items():
        if row["problem"]:
            tail = f"\nlast lines of {unit}:\n{row['log']}" if row["log"] else ""
            found.append(plain(f"{unit} {row['problem']}{tail}"))
    return "\n".join(found)
