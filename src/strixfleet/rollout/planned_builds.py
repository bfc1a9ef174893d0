"""What a rollout knows of its hosts before it begins: which build each runs, and which it is to run."""

from strixfleet.errors import UsageError
from strixfleet.fleet.session import ProbedHost
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.llama_cpp import build as builds
from strixfleet.managed.llama_cpp.aspect import build_for, manifest_of
from strixfleet.managed.llama_cpp.build import Build, Manifest


def current_build(seen: ProbedHost) -> str | None:
    """Return the id of the build that is current on a host."""
    return builds.current_build(seen.answers)


def current_manifest(seen: ProbedHost) -> Manifest | None:
    """Return what the current build says of itself."""
    return manifest_of(seen.answers) if current_build(seen) else None


def wanted_build(seen: ProbedHost) -> Build:
    """Return the build that the inventory pins for a host."""
    build = build_for(seen.state.host.settings, seen.state.machine)
    if build is not None:
        return build
    hint = "add `llama_cpp_ref: bNNNN`, or name a ref with --to"
    raise UsageError("nothing is pinned", where=seen.state.host.name, hint=hint)


def agreed(hosts: tuple[Host, ...], name: str) -> object:
    """Return a rollout_* setting on which all hosts agree."""
    values = {getattr(host.settings, name) for host in hosts}
    if len(values) > 1:
        shown = ", ".join(sorted(map(str, values)))
        hint = "set it in the group that holds them all, or use the flag"
        raise UsageError(f"{name} differs between the selected hosts: {shown}", hint=hint)
    return next(iter(values))
