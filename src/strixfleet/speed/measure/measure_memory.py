"""How fast a host reads memory: measured once and recorded on the host, the best of all tries."""

from dataclasses import asdict

from strixfleet.inventory.hardware import Profile
from strixfleet.on_host import json_text
from strixfleet.on_host.questions import Json
from strixfleet.speed.expect.roofline import Machine
from strixfleet.speed.measure.host_answer import Bandwidth, HostAnswer
from strixfleet.speed.measure.host_conditions import DISTURBED_SHARE
from strixfleet.speed.measure.remote_bench import Bench


TIMEOUT_S = 120
MOST_GB_S = 10_000.0  # a claim beyond it would lift every ceiling


class MemorySpeed:
    """The memory speed of one host: what is recorded there, and new measurements."""

    def __init__(self, bench: Bench, answer: HostAnswer) -> None:
        self._bench = bench
        self._boot_key = answer.boot_key
        self.recorded = answer.bandwidth

    @property
    def recorded_gb_s(self) -> float:
        """Return the recorded speed; 0 if there is none for this processor, memory and kernel line."""
        if self.recorded.boot_key != self._boot_key:
            return 0.0
        return self.recorded.read_gb_s or 0.0

    def now_gb_s(self) -> float:
        """Measure; return 0 if the build has no program for it."""
        return self._measure()[0]

    def best_gb_s(self, *, again: bool) -> float:
        """
        Return the recorded speed; measure if there is none, or `again`, or if the last try was disturbed.

        Other work can only make memory slower, so the best of all tries is recorded.
        """
        best = self.recorded_gb_s
        if best > 0 and not again and not _disturbed(self.recorded.others_share):
            return best
        now, others_share = self._measure()
        if now > best or (now > 0 and not _disturbed(others_share)):
            best = max(now, best)
            self.recorded = Bandwidth(self._boot_key, best, others_share)
            self._bench.keep("bandwidth.json", asdict(self.recorded))
        return best

    def _measure(self) -> tuple[float, float | None]:
        request: dict[str, Json] = {"program": "strixfleet-membw", "arguments": []}
        done = self._bench.program(request, TIMEOUT_S)
        try:
            read_gb_s = float(json_text.parsed(done.stdout)["read_gb_s"])
        except (ValueError, KeyError, TypeError):
            return 0.0, None
        return (read_gb_s, done.others_share) if 0 < read_gb_s <= MOST_GB_S else (0.0, None)


def machine_of(profile: Profile | None, memory: MemorySpeed, *, again: bool) -> Machine | None:
    """Return the machine as the roofline sees it: with the profile's bandwidth, or with the measured one."""
    if profile is not None and profile.bandwidth_gb_s:
        return Machine(profile.bandwidth_gb_s, measured=False, halo=profile.gfx == "gfx1151")
    speed = memory.best_gb_s(again=again)
    return Machine(speed, measured=True, halo=False) if speed > 0 else None


def _disturbed(share: float | None) -> bool:
    return share is not None and share > DISTURBED_SHARE
