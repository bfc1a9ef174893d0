"""Where one host's values are written: Ansible's origin tags, on values and on the names before them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from strixfleet.inventory.ansible.manager import Layer
from strixfleet.inventory.ansible.values import Place, Value
from strixfleet.inventory.schema.fleet_model import Origin


class Places:
    """Finds files and lines for one host; `layers` are what sets its variables, weakest first."""

    def __init__(self, values: Mapping[str, Value], layers: Sequence[Layer], host: Place | None) -> None:
        self._values, self._layers, self._host = values, layers, host

    def find(self, path: Sequence[str | int]) -> Origin:
        """Return where a path of keys is written, or as much of it as has a place."""
        name, *rest = path
        value = self._values.get(str(name))
        if value is None:
            return self._absent()
        for depth in range(len(rest), -1, -1):
            if place := value.places.get(tuple(rest[:depth])):
                return origin_of(place)
        return self.defined(str(name), value.raw_place)

    def defined(self, name: str, tag: Place | None) -> Origin:
        """Return where a variable is defined: its tag, else its name in the strongest layer that has it."""
        strongest = next((layer for layer in reversed(self._layers) if name in layer.values), None)
        return origin_of(tag or (dict(strongest.names())[name] if strongest else None))

    def _absent(self) -> Origin:
        """Return the place for what is not there: where the host's servers are, else the host."""
        servers = self._values.get("llama_server_instances")
        places = [servers.raw_place if servers else None, self._host]
        places += [place for layer in reversed(self._layers) for _, place in layer.names()]
        return origin_of(next((place for place in places if place and Path(place.file).is_file()), None))


def origin_of(place: Place | None) -> Origin:
    """Return a place as what is shown of it; empty where it is not known."""
    return Origin(place.file, place.line) if place else Origin("")
