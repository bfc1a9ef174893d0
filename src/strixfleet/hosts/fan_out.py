"""
One function over many hosts at once; a host's failure is a value.

So is an error that nobody foresaw: it may be due to what that host answered, and the others are reported.
"""

import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from strixfleet.errors import FleetError, ProbeFailed
from strixfleet.inventory.schema.fleet_model import Host


Result = TypeVar("Result")


def fan_out(
    hosts: Iterable[Host], act: Callable[[Host], Result], *, forks: int = 32
) -> dict[str, Result | FleetError]:
    """Return {host name: result or the error that `act` raised}, in the order of `hosts`."""
    chosen = tuple(hosts)

    def guarded(host: Host) -> Result | FleetError:
        try:
            return act(host)
        except FleetError as error:
            return error
        except Exception as error:  # noqa: BLE001 - see above
            return _unforeseen(host, error)

    with ThreadPoolExecutor(max_workers=max(1, min(forks, len(chosen) or 1))) as pool:
        return dict(zip((host.name for host in chosen), pool.map(guarded, chosen), strict=True))


def _unforeseen(host: Host, error: Exception) -> ProbeFailed:
    place = traceback.extract_tb(error.__traceback__)[-1]
    message = f"could not be understood: {type(error).__name__}: {str(error)[:200]}"
    hint = "see what is odd about this host; if nothing is, report this as a defect of strixfleet"
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
    return ProbeFailed(f"{message} ({where})", where=host.name, hint=hint)
