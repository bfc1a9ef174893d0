"""
Record the runs of this controller in SQLite; losing the file loses only history.

Several runs may write at the same time; each waits up to 20 s for the others. There is no write-ahead log,
because switching a new file to it fails at once, without that wait, if another run has the file open.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_state_path

from strixfleet.errors import UsageError
from strixfleet.findings.results import Report
from strixfleet.findings.runs import RunRow


SCHEMA_VERSION = 1
MOST_RUNS = 5000  # an audit of ten hosts takes about 100 kB
_BUSY_S = 20.0
_SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS runs ("
        " number INTEGER PRIMARY KEY AUTOINCREMENT, verb TEXT NOT NULL, started_at TEXT NOT NULL,"
        " exit_code INTEGER NOT NULL, document TEXT NOT NULL)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS run_hosts ("
        " number INTEGER NOT NULL REFERENCES runs(number) ON DELETE CASCADE, host TEXT NOT NULL,"
        " PRIMARY KEY (host, number))"
    ),
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_NEWEST = """
SELECT number, verb, started_at, exit_code, document FROM runs
WHERE (?1 = '[]' OR verb IN (SELECT value FROM json_each(?1)))
  AND (?2 = '[]' OR number IN (
       SELECT number FROM run_hosts WHERE host IN (SELECT value FROM json_each(?2))))
ORDER BY number DESC LIMIT ?3
"""


def history_path() -> Path:
    """Return the path of the database."""
    return user_state_path("strixfleet") / "history.sqlite3"


class History:
    """The recorded runs of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
        except (OSError, sqlite3.Error) as problem:
            raise UsageError(f"cannot be opened ({problem})", where=str(self._path)) from None
        try:
            self._prepare(connection)
            yield connection
        except sqlite3.DatabaseError as problem:
            hint = "move the file away; only history is lost"
            raise UsageError(f"cannot be used ({problem})", where=str(self._path), hint=hint) from None
        finally:
            connection.close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise UsageError(
                f"was written by a newer strixfleet (schema {version})",
                where=str(self._path),
                hint="use that version, or move the file away",
            )
        if version < SCHEMA_VERSION:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
            self._path.chmod(0o600)

    def record(self, report: Report) -> int:
        """Record one run and return its number."""
        document = report.to_json()
        row = (report.verb, document["started_at"], document["exit_code"], json.dumps(document))
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            insert = "INSERT INTO runs (verb, started_at, exit_code, document) VALUES (?, ?, ?, ?)"
            number = int(connection.execute(insert, row).lastrowid or 0)
            hosts = [(number, host.name) for host in report.hosts]
            connection.executemany("INSERT INTO run_hosts (number, host) VALUES (?, ?)", hosts)
            connection.execute("DELETE FROM runs WHERE number <= ?", (number - MOST_RUNS,))
            connection.execute("COMMIT")
        return number

    def runs(
        self, *, hosts: tuple[str, ...] = (), verbs: tuple[str, ...] = (), most: int = 200
    ) -> tuple[RunRow, ...]:
        """Return the latest runs, newest first; only of these hosts and verbs, if given."""
        with self._open() as connection:
            values = (json.dumps(verbs), json.dumps(hosts), most)
            rows = connection.execute(_NEWEST, values).fetchall()
        return tuple(RunRow(row[0], row[1], row[2], row[3], json.loads(row[4])) for row in rows)
