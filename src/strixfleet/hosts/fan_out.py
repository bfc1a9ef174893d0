"""One function over many hosts at once; a host's failure is a value."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from strixfleet.errors import FleetError
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

    with ThreadPoolExecutor(max_workers=max(1, min(forks, len(chosen) or 1))) as pool:
        return dict(zip((host.name for host in chosen), pool.map(guarded, chosen), strict=True))
