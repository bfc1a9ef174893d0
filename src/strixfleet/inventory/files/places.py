"""Where a host's value stands: Ansible's tags give the nearest node, the scan the rest of the way."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from strixfleet.inventory.ansible.values import HostVariables, Place, Value
from strixfleet.inventory.files.origins import Definition, holding
from strixfleet.inventory.schema.fleet_model import Origin


class Places:
    """Finds files and lines for one host."""

    def __init__(
        self,
        host: tuple[str, tuple[str, ...]],
        by_name: Mapping[str, list[Definition]],
        variables: HostVariables,
        values: Mapping[str, Value],
    ) -> None:
        self.host, self.groups = host
        self.by_name, self.variables, self.values = by_name, variables, values

    def find(self, path: tuple[str | int, ...]) -> Origin:
        """Find the line of a key path: Ansible's nearest tag gives the node, the scan the rest of the way."""
        name, rest = str(path[0]), path[1:]
        value = self.values.get(name)
        if value is None:
            return self._missing()
        for depth in range(len(rest), -1, -1):
            place = value.places.get(tuple(rest[:depth]))
            if place is not None:
                return self.origin(place, name, tuple(rest), depth)
        return self.origin(value.raw_place, name, tuple(rest))

    def origin(self, place: Place | None, name: str, rest: tuple[str | int, ...], depth: int = 0) -> Origin:
        """Find the line of `rest` below a tagged node, whose own path has `depth` keys."""
        definitions = self.by_name.get(name, [])
        if place is None:
            definition = holding(definitions, self.host, self.groups)
            if definition is None:
                return Origin("")
            line = definition.node.locate(rest) if rest else definition.line
            return Origin(definition.file, line)
        exact = [item for item in definitions if item.file == place.file and item.node.line == place.line]
        if exact and rest and depth < len(rest):
            return Origin(place.file, exact[0].node.locate(rest))
        if depth < len(rest):
            line = self._inside(definitions, place, rest)
            return Origin(place.file, line or place.line)
        return Origin(place.file, place.line)

    @staticmethod
    def _inside(definitions: Iterable[Definition], place: Place, rest: tuple[str | int, ...]) -> int:
        """Find a path below a tagged part by following it from the variable's own definition."""
        for item in definitions:
            if item.file == place.file:
                line = item.node.locate(rest)
                if line >= place.line:
                    return line
        return 0

    def written(self, path: tuple[str | int, ...]) -> str | None:
        """Return a value's text as it stands in its file; None when it is quoted or not to be found."""
        name, rest = str(path[0]), path[1:]
        place = self.values[name].places.get(rest) if name in self.values else None
        for item in self.by_name.get(name, ()) if place else ():
            node = item.node.find(rest)
            if place and node and node.plain and (item.file, node.line) == (place.file, place.line):
                return node.text
        return None

    def _missing(self) -> Origin:
        """Return the place for what is not there: where the host's servers are, else where the host is."""
        servers = self.values.get("llama_server_instances")
        if servers and servers.raw_place:
            return Origin(servers.raw_place.file, servers.raw_place.line)
        named = [self.variables.place("inventory_hostname"), *(place for _, place in self.variables.names())]
        places = [place for place in named if place and Path(place.file).is_file()]
        return Origin(places[0].file, places[0].line) if places else Origin("")
