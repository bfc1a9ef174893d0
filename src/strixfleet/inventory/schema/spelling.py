"""Find the known name that an unknown one was meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches


LIKENESS_MIN = 0.8  # enough for a hint beside what is a mistake anyway
SLIP_LIKENESS_MIN = 0.9  # what makes a name a mistake: `vault_tailscale_auth_key` must not be one


def nearest(name: str, known: Iterable[str], likeness_min: float = LIKENESS_MIN) -> str | None:
    """Return the known name that is most like a name, whatever its case and dashes, or None."""
    plain = {_plain(candidate): candidate for candidate in known}
    close = get_close_matches(_plain(name[:64]), plain, n=1, cutoff=likeness_min)
    return plain[close[0]] if close else None


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
