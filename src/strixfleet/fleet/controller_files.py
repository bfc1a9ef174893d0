"""What is read from files and repositories on the controller that a host's settings name."""

from functools import cache
from pathlib import Path

from strixfleet.errors import FleetError
from strixfleet.inventory.known_defects import tagged_build
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.facts import ControllerFacts
from strixfleet.tools import git
from strixfleet.tools.repository_key import repository_key


def controller_facts(settings: HostSettings) -> ControllerFacts:
    """Read and check the files; a wrong one raises UsageError."""
    key, armoured = settings.tailscale_repository_key, ""
    if settings.tailscale_enabled and key is not None:
        armoured = repository_key(Path(key), settings.tailscale_repository_fingerprint)
    ref = settings.llama_cpp_ref
    build = build_of(settings.llama_cpp_repository, ref) if ref is not None else None
    return ControllerFacts(armoured, build)


@cache
def build_of(repository: str, ref: str) -> int | None:
    """Return the build number of a ref, by its name or by a repository on this machine; fetch nothing."""
    if (build := tagged_build(ref)) is not None:
        return build
    here = git.repository_here(repository)
    try:
        return git.build_number(here, ref) if here is not None else None
    except FleetError:  # there is no git here
        return None
