"""Run measurements on a host over its one connection."""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from platformdirs import user_cache_path

from strixfleet.errors import GgufError, ProbeFailed
from strixfleet.hosts.host_code import program_argv, read_data
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.on_host import files as host_files
from strixfleet.on_host.questions import Json
from strixfleet.speed.measure.answer_types import Figure, Said, T, UnreadableAnswerError, read_as
from strixfleet.speed.measure.host_answer import FileStat, HostAnswer
from strixfleet.speed.measure.served import Served
from strixfleet.speed.model.gguf_header import read_header
from strixfleet.speed.model.model_file import GgufHeader


LOOK_TIMEOUT_S = 60.0
_HEADER_STEPS_BYTES = tuple(mib << 20 for mib in (4, 16, 40))
_MARGIN_S = 30.0


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """How a program on a host ended, what it printed, and the share of the CPU that other work took."""

    exit_code: int
    stdout: str
    stderr: Said
    others_share: Figure = 0.0


class Bench:
    """Measurements on one host; every answer is read into a type here."""

    def __init__(self, host: Host, remote: Remote) -> None:
        self._host = host
        self._remote = remote
        self._root = host.settings.sandbox_hardware_root or ""

    def _ask(self, program: str, request: Mapping[str, Json], timeout_s: float) -> dict[str, Json]:
        argv = program_argv(program, dict(request), self._host.connection.python or "python3")
        done = self._remote.run(argv, timeout_s=timeout_s)
        return read_data(done.stdout, done.stderr, host=self._host.name)

    def _read_as(self, kind: type[T], answer: Mapping[str, Json]) -> T:
        try:
            return read_as(kind, answer)
        except UnreadableAnswerError as problem:
            raise ProbeFailed(f"could not be measured: unexpected {problem}", where=self._host.name) from None

    def look(self, instances: list[str], files: list[str], calm_s: float) -> HostAnswer:
        """Ask what is installed, what runs and how busy the host is; wait up to `calm_s` for a quiet CPU."""
        request: dict[str, Json] = {
            "root": self._root,
            "calm_s": calm_s,
            "instances": [*instances],
            "files": [*files],
        }
        return self._read_as(HostAnswer, self._ask("describe", request, LOOK_TIMEOUT_S + calm_s))

    def program(self, request: Mapping[str, Json], timeout_s: int) -> ProgramRun:
        """Run a program of the current build: `program`, its `arguments`, and what it may use."""
        whole = {"do": "program", **request, "timeout_s": timeout_s}
        return self._read_as(ProgramRun, self._ask("run_program", whole, timeout_s + _MARGIN_S))

    def keep(self, name: str, data: Json) -> None:
        """Write one of the host's own measurement files."""
        self._ask("run_program", {"do": "keep", "name": name, "data": data}, LOOK_TIMEOUT_S)

    def served(self, request: Mapping[str, Json], timeout_s: int) -> Served:
        """Send completions to a running server: `url`, `key_file`, `body`, `repetitions`."""
        repetitions = request.get("repetitions")
        most_s = timeout_s * (2 + (repetitions if isinstance(repetitions, int) else 0))
        answer = self._ask("request", {**request, "timeout_s": timeout_s}, most_s + _MARGIN_S)
        return self._read_as(Served, answer)

    def header(self, paths: list[str], files: Mapping[str, FileStat | None]) -> GgufHeader:
        """Read the header of a model on the host; its first bytes are fetched once and kept in the cache."""
        stats = [[path, asdict(file) if (file := files.get(path)) else None] for path in paths]
        identity = json.dumps([self._host.name, stats], sort_keys=True)
        folder = (
            user_cache_path("strixfleet") / "headers" / hashlib.sha256(identity.encode()).hexdigest()[:24]
        )
        first = folder / PurePosixPath(paths[0]).name
        problem: GgufError | None = None
        for count in (0, *_HEADER_STEPS_BYTES):
            if count:
                self._fetch(paths, folder, count)
            elif not first.exists():
                continue
            try:
                return read_header(first)
            except GgufError as error:
                problem = error
        message = problem.message if problem else "cannot be read"
        raise GgufError(
            message, where=f"{self._host.name}: {paths[0]}", hint="check that the file is complete"
        )

    def _fetch(self, paths: list[str], folder: Path, count: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            request: dict[str, Json] = {"do": "header", "path": path, "count": count}
            answer = self._ask("run_program", request, LOOK_TIMEOUT_S * 4)
            data = self._unpacked(answer.get("packed"), count)
            host_files.write(str(folder / PurePosixPath(path).name), data)

    def _unpacked(self, packed: Json, count: int) -> bytes:
        unpack = zlib.decompressobj()
        try:
            return unpack.decompress(base64.b64decode(str(packed), validate=True), count)
        except (ValueError, zlib.error):
            message = "could not be measured: the header that it sent is damaged"
            raise ProbeFailed(message, where=self._host.name) from None
