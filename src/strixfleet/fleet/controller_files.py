"""What is read from files on the controller that a host's settings name."""

from pathlib import Path

from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.facts import ControllerFacts
from strixfleet.tools.repository_key import repository_key


def controller_facts(settings: HostSettings) -> ControllerFacts:
    """Read and check the files; a wrong one raises UsageError."""
    key = settings.tailscale_repository_key
    if not settings.tailscale_enabled or key is None:
        return ControllerFacts()
    return ControllerFacts(repository_key(Path(key), settings.tailscale_repository_fingerprint))
