"""Whether an unknown name is a slip of one of ours, or somebody else's."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from enum import Enum


# Names that other roles use under our prefixes (artis3n.tailscale, kernel and rollout roles); never a slip.
FOREIGN = frozenset(
    {
        "tailscale_args",
        "tailscale_authkey",
        "tailscale_auth_token",
        "tailscale_oauth_ephemeral",
        "tailscale_oauth_preauthorized",
        "tailscale_up_node",
        "tailscale_up_timeout",
        "tailscale_up_args",
        "tailscale_up_extra_args",
        "tailscale_release_stability",
        "tailscale_state",
        "tailscale_version",
        "tailscale_verbose",
        "tailscale_package",
        "tailscale_service",
        "tailscale_ssh",
        "kernel_packages",
        "kernel_parameters",
        "kernel_modules",
        "kernel_version",
        "kernel_settings_sysctl",
    }
)
SLIPS_MAX = 2  # letters added, left out, changed or swapped
LIKENESS_MIN = 0.9  # of difflib, for longer names with one more slip


class Kinship(Enum):
    """What an unknown name is to us."""

    SLIP = "slip"
    FOREIGN = "foreign"
    NONE = "none"


def distance(one: str, other: str, limit: int) -> int:
    """Count the slips between two words (optimal string alignment), at most limit + 1."""
    if abs(len(one) - len(other)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        current = [i]
        for j, right in enumerate(other, 1):
            cost = min(row[j] + 1, current[j - 1] + 1, row[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                cost = min(cost, before[j - 2] + 1)
            current.append(cost)
        before, row = row, current
    return row[-1]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that a name is a slip of, if any."""
    word = name.lower().replace("-", "_").replace(" ", "_")
    if len(word) > 64:  # noqa: PLR2004 - no name of ours is near that long
        return None
    best: tuple[float, str] | None = None
    for candidate in known:
        theirs = candidate.lower().replace("-", "_")
        limit = SLIPS_MAX if len(candidate) > 5 else 1  # noqa: PLR2004 - short names have near neighbours
        slips = distance(word, theirs, limit)
        matcher = SequenceMatcher(None, word, theirs)
        likeness = matcher.ratio() if slips <= limit or matcher.real_quick_ratio() >= LIKENESS_MIN else 0.0
        same_words = sorted(word.split("_")) == sorted(theirs.split("_"))
        if slips <= limit or likeness >= LIKENESS_MIN or same_words:
            best = max(best or (0.0, ""), (likeness, candidate))
    return best[1] if best else None


def kinship(name: str, known: Iterable[str], prefixes: Iterable[str]) -> tuple[Kinship, str | None]:
    """Judge an unknown name: a slip of ours, a stranger under our prefix, or none of our business."""
    close = nearest(name, known)
    if name in FOREIGN:
        return Kinship.FOREIGN, close
    if close is not None:
        return Kinship.SLIP, close
    if name.lower().replace("-", "_").startswith(tuple(prefixes)):
        return Kinship.FOREIGN, None
    return Kinship.NONE, None
