"""How fast a host reads memory: measured once, kept on the host, best of all tries."""

import json

from strixfleet.adapters.bench import Bench
from strixfleet.core.bench_state import map_at
from strixfleet.core.questions import Json


TIMEOUT_S = 120


class MemorySpeed:
    """The memory's speed; `raw` is what the host said of itself."""

    def __init__(self, bench: Bench, raw: dict[str, Json]) -> None:
        self._bench = bench
        self._raw = raw

    @property
    def kept_gb_s(self) -> float:
        """Give what was measured since the host was last booted in another way; 0 where nothing was."""
        kept = map_at(self._raw, "bandwidth")
        speed = kept.get("read_gb_s") if kept.get("boot_key") == self._raw.get("boot_key") else None
        return float(speed) if isinstance(speed, int | float) else 0.0

    def now_gb_s(self) -> float:
        """Measure; 0 where the build has no program for it."""
        request: dict[str, Json] = {"program": "strixfleet-membw", "arguments": [], "users": ["nobody"]}
        done = self._bench.program(request, TIMEOUT_S)
        try:
            return float(json.loads(str(done["stdout"]))["read_gb_s"])
        except (ValueError, KeyError, TypeError):
            return 0.0

    def best_gb_s(self, *, again: bool) -> float:
        """Give what is kept; measure where nothing is, or `again`. Other work only ever makes it slower."""
        best = self.kept_gb_s
        if best > 0 and not again:
            return best
        now = self.now_gb_s()
        if now > best:
            self._raw["bandwidth"] = {"boot_key": self._raw.get("boot_key"), "read_gb_s": now}
            self._bench.keep("bandwidth.json", self._raw["bandwidth"])
        return max(now, best)
