"""How fast a host reads memory: measured once, kept on the host, best of all tries."""

import json

from strixfleet.inventory.hardware import Profile
from strixfleet.on_host.questions import Json
from strixfleet.speed.expect.roofline import Machine
from strixfleet.speed.measure.host_state import DISTURBED_SHARE, map_at
from strixfleet.speed.measure.remote_bench import Bench


TIMEOUT_S = 120


class MemorySpeed:
    """The memory's speed; `raw` is what the host said of itself."""

    def __init__(self, bench: Bench, raw: dict[str, Json]) -> None:
        self._bench = bench
        self._raw = raw

    @property
    def kept_gb_s(self) -> float:
        """Return what was measured since the host was last booted in another way; 0 where nothing was."""
        kept = map_at(self._raw, "bandwidth")
        speed = kept.get("read_gb_s") if kept.get("boot_key") == self._raw.get("boot_key") else None
        return float(speed) if isinstance(speed, int | float) else 0.0

    def now_gb_s(self) -> float:
        """Measure; 0 where the build has no program for it."""
        return self._measure()[0]

    def best_gb_s(self, *, again: bool) -> float:
        """
        Return what is kept; measure where nothing is, or `again`, or while other work disturbed the last try.

        Other work only ever makes it slower, so the best of all tries is kept.
        """
        best, disturbed = self.kept_gb_s, map_at(self._raw, "bandwidth").get("others_share")
        if best > 0 and not again and not _disturbed(disturbed):
            return best
        now, others = self._measure()
        if now > best or (now > 0 and not _disturbed(others)):
            best = max(now, best)
            self._raw["bandwidth"] = {
                "boot_key": self._raw.get("boot_key"),
                "read_gb_s": best,
                "others_share": others,
            }
            self._bench.keep("bandwidth.json", self._raw["bandwidth"])
        return best

    def _measure(self) -> tuple[float, Json]:
        request: dict[str, Json] = {"program": "strixfleet-membw", "arguments": [], "users": ["nobody"]}
        done = self._bench.program(request, TIMEOUT_S)
        try:
            return float(json.loads(str(done["stdout"]))["read_gb_s"]), done.get("others_share")
        except (ValueError, KeyError, TypeError):
            return 0.0, None


def machine_of(profile: Profile | None, memory: MemorySpeed, *, again: bool) -> Machine | None:
    """Return what decode speed depends on: the profile's bandwidth, or what was seen of the memory."""
    if profile is not None and profile.bandwidth_gb_s:
        return Machine(profile.bandwidth_gb_s, measured=False, halo=profile.gfx == "gfx1151")
    speed = memory.best_gb_s(again=again)
    return Machine(speed, measured=True, halo=False) if speed > 0 else None


def _disturbed(share: Json) -> bool:
    return isinstance(share, int | float) and share > DISTURBED_SHARE
