"""What a host says of itself before it is measured: build, servers, files, conditions, earlier results."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, GetPydanticSchema, PlainValidator
from pydantic_core.core_schema import CoreSchema, no_info_plain_validator_function

from strixfleet.findings.last_good import LastGood
from strixfleet.speed.measure.answer_types import Count, OrDefault, Text, UnreadableAnswerError, read_as
from strixfleet.speed.measure.host_conditions import HostConditions


@dataclass(frozen=True, slots=True)
class ServerUnit:
    """A systemd unit of llama-server and its main process; `pid` is 0 and `argv` empty if it does not run."""

    state: Text = "unknown"
    pid: Count = 0
    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    quota: Text = ""
    cores: tuple[int, ...] = ()
    nice: Count = 0


@dataclass(frozen=True, slots=True)
class FileStat:
    """Size and identity of a file."""

    size_bytes: int
    mtime_ns: Count = 0
    inode: Count = 0


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """The memory speed recorded on a host, for the processor, memory and kernel arguments of `boot_key`."""

    boot_key: str | None = None
    read_gb_s: float | None = None
    others_share: float | None = None  # of the CPU, taken by other work while it was measured


def _recorded(value: object) -> Bandwidth:
    """Read the record; a damaged one counts as none, because it is measured again then."""
    try:
        return read_as(Bandwidth, value)
    except UnreadableAnswerError:
        return Bandwidth()


def _last_good_schema(_source: object, _handler: object) -> CoreSchema:
    """Let LastGood read itself: its entries are any JSON, and damaged ones count as none."""
    return no_info_plain_validator_function(LastGood.from_json)


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """One answer of `describe.py`; files are by path, None if a file does not exist."""

    build: str | None = None
    instances: Mapping[str, ServerUnit] = field(default_factory=dict)
    files: Mapping[str, FileStat | None] = field(default_factory=dict)
    conditions: Annotated[HostConditions, OrDefault, Field(validation_alias="state")] = field(
        default_factory=HostConditions
    )
    last_good: Annotated[LastGood, GetPydanticSchema(_last_good_schema)] = field(default_factory=LastGood)
    bandwidth: Annotated[Bandwidth, PlainValidator(_recorded)] = field(default_factory=Bandwidth)
    boot_key: str | None = None

    def server(self, instance: str) -> ServerUnit:
        """Return the unit of an instance."""
        return self.instances.get(instance, ServerUnit())

    def missing(self, paths: Iterable[str]) -> str:
        """Return the first of these files that does not exist; empty if all do."""
        return next((path for path in paths if self.files.get(path) is None), "")

    def size_bytes(self, paths: Iterable[str]) -> int:
        """Return the size of these files together."""
        return sum(file.size_bytes for path in paths if (file := self.files.get(path)))
