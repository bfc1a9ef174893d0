"""The search finds the first bad commit, in no more builds than log2 says."""

from hypothesis import given
from hypothesis import strategies as st

from strixfleet.rollout.bisection import Found, Search, builds_at_most


def search(count: int, culprit: int, unknown: frozenset[int] = frozenset()) -> tuple[int, tuple[str, ...]]:
    commits = tuple(f"c{number}" for number in range(count))
    known: dict[str, Found] = {}
    builds = 0
    while (commit := Search(commits, known).next()) is not None:
        at, builds = commits.index(commit), builds + 1
        known[commit] = Found.UNKNOWN if at in unknown else Found.BAD if at >= culprit else Found.GOOD
    return builds, Search(commits, known).suspects


def test_sixty_four_commits_take_six_builds_at_most() -> None:
    assert builds_at_most(range(64)) == 6  # type: ignore[arg-type] # only the length counts
    for culprit in range(64):
        builds, suspects = search(64, culprit)
        assert builds <= 6
        assert suspects == (f"c{culprit}",)


@given(st.data())
def test_what_cannot_be_judged_is_passed_over_and_never_blamed_alone(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    culprit = data.draw(st.integers(0, count - 1))
    unknown = frozenset(data.draw(st.sets(st.integers(0, count - 1))))
    builds, suspects = search(count, culprit, unknown)
    assert builds <= count
    assert f"c{culprit}" in suspects
    assert all(int(name[1:]) in unknown or name == suspects[-1] for name in suspects)
