"""Since when a server loads its model, and how long it may: a large one takes minutes after each start."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from strixfleet.on_host.questions import Answers, Ask, Json, Question


UPTIME = Question(Ask.READ, "/proc/uptime")
CLOCK = Question(Ask.RUN, "clock")
SLOWEST_DISK_BYTES_PER_S = 100_000_000  # a SATA disk that others use as well
START_S = 60.0  # drivers, shaders, warm-up
CRASH_LOOP = 3  # a server that systemd restarted this often is not loading, it fails
_LOADING, _NO_ANSWER = 503, 0


@dataclass(frozen=True, slots=True)
class Loading:
    """A server that runs and does not serve yet."""

    age_s: float
    size_bytes: int
    since: datetime | None

    @property
    def allowed_s(self) -> float:
        """Return the time that the size and the slowest disk allow."""
        return START_S + self.size_bytes / SLOWEST_DISK_BYTES_PER_S

    @property
    def in_time(self) -> bool:
        """Tell whether it may still be loading."""
        return self.age_s <= self.allowed_s

    @property
    def words(self) -> str:
        """Say since when it loads how much."""
        since = f"since {self.since:%H:%M} UTC" if self.since else f"for {self.age_s:.0f} s"
        size = f"{self.size_bytes / 1024**3:.1f} GiB"
        if self.in_time:
            return f"loading {since}, {size}"
        return f"has not loaded {since}: {size} take at most {self.allowed_s:.0f} s; look at its log"


def questions(paths: Iterable[str]) -> tuple[Question, ...]:
    """Ask for the host's clocks and for the size of the model's files."""
    return (UPTIME, CLOCK, *(Question(Ask.STAT, path) for path in paths))


def loading_of(
    unit: Mapping[str, Json], health: Json, paths: Iterable[str], answers: Answers
) -> Loading | None:
    """
    Return since when a running server does not serve yet; None where it serves, fails or does not run.

    It answers 503 while it loads. Before it listens nobody answers: then only a server that has not failed
    since it was started counts as one that loads.
    """
    status = health.get("status") if isinstance(health, dict) else None
    restarts = _number(unit.get("NRestarts")) or 0
    if (
        not isinstance(status, int)
        or unit.get("ActiveState") != "active"
        or status not in {_LOADING, _NO_ANSWER}
    ):
        return None
    if restarts >= CRASH_LOOP or (restarts and status == _NO_ANSWER):
        return None
    started_us = _number(unit.get("ActiveEnterTimestampMonotonic"))
    uptime_s = _number((answers.text(UPTIME.verb, UPTIME.subject) or "").partition(" ")[0])
    if not started_us or uptime_s is None or uptime_s < started_us / 1e6:
        return None
    age_s = uptime_s - started_us / 1e6
    clock = _number(answers.text(CLOCK.verb, CLOCK.subject))
    since = datetime.fromtimestamp(clock - age_s, UTC) if clock else None
    return Loading(age_s, sum(_size_bytes(path, answers) for path in paths), since)


def _number(text: Json) -> float | None:
    plain = text.strip() if isinstance(text, str) else ""
    return (
        float(plain) if plain.replace(".", "", 1).isascii() and plain.replace(".", "", 1).isdigit() else None
    )


def _size_bytes(path: str, answers: Answers) -> int:
    stat = answers[Question(Ask.STAT, path)].value
    size = stat.get("size_bytes") if isinstance(stat, dict) else None
    return size if isinstance(size, int) else 0
