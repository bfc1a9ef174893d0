"""Run measurements on a host over its one connection."""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from platformdirs import user_cache_path

from strixfleet.errors import GgufError
from strixfleet.hosts.host_code import program_argv, read_data
from strixfleet.hosts.remote import Remote
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.on_host.questions import Json
from strixfleet.speed.model.gguf_header import read_header
from strixfleet.speed.model.model_file import GgufHeader


LOOK_TIMEOUT_S = 60.0
_HEADER_STEPS_BYTES = tuple(mib << 20 for mib in (4, 16, 64, 256))
_MARGIN_S = 30.0


class Bench:
    """Measurements on one host."""

    def __init__(self, host: Host, remote: Remote) -> None:
        self._host = host
        self._remote = remote
        self._root = host.settings.sandbox_hardware_root or ""

    def _ask(self, program: str, request: Mapping[str, Json], timeout_s: float) -> dict[str, Json]:
        argv = program_argv(program, dict(request), self._host.connection.python or "python3")
        done = self._remote.run(argv, timeout_s=timeout_s)
        return read_data(done.stdout, done.stderr, host=self._host.name)

    def look(self, instances: list[str], files: list[str], calm_s: float) -> dict[str, Json]:
        """Return what is installed, what runs and the host's state; wait up to `calm_s` for a quiet CPU."""
        request: dict[str, Json] = {"root": self._root, "calm_s": calm_s}
        wish: dict[str, Json] = {**request, "instances": [*instances], "files": [*files]}
        return self._ask("describe", wish, LOOK_TIMEOUT_S + calm_s)

    def program(self, request: Mapping[str, Json], timeout_s: int) -> dict[str, Json]:
        """Run a program of the current build: `program`, `arguments` and with whose rights."""
        wish = {"do": "program", "users": [], **request, "timeout_s": timeout_s}
        return self._ask("run_program", wish, timeout_s + _MARGIN_S)

    def keep(self, name: str, data: Json) -> None:
        """Write one of the host's own measurement files."""
        self._ask("run_program", {"do": "keep", "name": name, "data": data}, LOOK_TIMEOUT_S)

    def served(self, request: Mapping[str, Json], timeout_s: int) -> dict[str, Json]:
        """Send completions to a running server: `url`, `key_file`, `body`, how often."""
        wish = {**request, "timeout_s": timeout_s}
        repetitions = request.get("repetitions")
        most_s = timeout_s * (2 + (repetitions if isinstance(repetitions, int) else 0))
        return self._ask("request", wish, most_s + _MARGIN_S)

    def header(self, paths: list[str], files: Mapping[str, Json]) -> GgufHeader:
        """Read the header of a model on the host; only its first bytes travel, once for each file."""
        identity = json.dumps([self._host.name, [[path, files.get(path)] for path in paths]], sort_keys=True)
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
            draft = folder / f".{PurePosixPath(path).name}.new"
            draft.write_bytes(zlib.decompress(base64.b64decode(str(answer["packed"]))))
            draft.rename(folder / PurePosixPath(path).name)
