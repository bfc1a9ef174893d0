"""Find the first bad commit between a good and a bad one with as few builds as possible."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Found(StrEnum):
    """How a commit was judged; UNKNOWN where it could not be built or judged."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Search:
    """The commits after the good one, oldest first; the last one is bad. `known` is how some were judged."""

    commits: tuple[str, ...]
    known: Mapping[str, Found]

    @property
    def _range(self) -> tuple[int, int]:
        """Return the first index that may be the first bad commit, and the first that is known to be bad."""
        low, high = 0, len(self.commits) - 1
        for at, commit in enumerate(self.commits):
            if self.known.get(commit) is Found.GOOD:
                low = max(low, at + 1)
        for at in range(high, low - 1, -1):
            if self.known.get(self.commits[at]) is Found.BAD:
                high = at
        return low, high

    @property
    def suspects(self) -> tuple[str, ...]:
        """Return the commits one of which is the first bad one."""
        low, high = self._range
        return self.commits[low : high + 1]

    def next(self) -> str | None:
        """Return the commit to try: the unknown one nearest to the middle, None at the end."""
        low, high = self._range
        middle = (low + high - 1) // 2
        open_ = [at for at in range(low, high) if self.commits[at] not in self.known]
        chosen = min(open_, key=lambda at: abs(at - middle), default=None)
        return None if chosen is None else self.commits[chosen]


def builds_at_most(commits: Sequence[str]) -> int:
    """Return how many builds a search takes when every commit can be judged: log2, rounded up."""
    return max(0, (len(commits) - 1).bit_length())
