"""What a rollout knows of its hosts before it begins: which build each runs, and which it is to run."""

import posixpath

from strixfleet.errors import UsageError
from strixfleet.fleet.session import ProbedHost
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.llama_cpp.aspect import CURRENT, MANIFEST, LlamaCpp
from strixfleet.managed.llama_cpp.build import Build, Manifest, parse_manifest


def current_build(seen: ProbedHost) -> str | None:
    """Return the id of the build that is current on a host."""
    target = seen.answers[CURRENT].value
    return posixpath.basename(target) if isinstance(target, str) else None


def current_manifest(seen: ProbedHost) -> Manifest | None:
    """Return what the current build says of itself."""
    return parse_manifest(seen.answers.text(MANIFEST.verb, MANIFEST.subject)) if current_build(seen) else None


def wanted_build(seen: ProbedHost) -> Build:
    """Return the build that the inventory pins for a host."""
    for aspect in seen.state.aspects:
        if isinstance(aspect, LlamaCpp) and aspect.build is not None:
            return aspect.build
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
