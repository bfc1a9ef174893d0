"""What is read from files and repositories on the controller that a host's settings name."""

from functools import cache
from pathlib import Path

from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.facts import ControllerFacts
from strixfleet.tools import git
from strixfleet.tools.repository_key import repository_key


def controller_facts(settings: HostSettings) -> ControllerFacts:
    """Read and check the files; a wrong one raises UsageError."""
    key, armoured = settings.tailscale_repository_key, ""
    if settings.tailscale_enabled and key is not None:
        armoured = repository_key(Path(key), settings.tailscale_repository_fingerprint)
    return ControllerFacts(armoured, _pinned_build(settings.llama_cpp_repository, settings.llama_cpp_ref))


@cache
def _pinned_build(repository: str, ref: str | None) -> int | None:
    """Return the build number of a pin where a repository on this machine tells it; fetch nothing."""
    here = git.repository_here(repository)
    return git.build_number(here, ref) if here is not None and ref is not None else None
