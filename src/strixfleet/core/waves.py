"""Who goes when: the canary alone, then batches."""

from collections.abc import Sequence

from strixfleet.errors import UsageError


_PERCENT = "%"


def batch_size(batch: int | str, hosts: int) -> int:
    """Give the hosts of a batch; a share is taken of all hosts, rounded down, and is one at least."""
    if isinstance(batch, int):
        return max(1, batch)
    if batch.endswith(_PERCENT):
        return max(1, hosts * int(batch.removesuffix(_PERCENT)) // 100)
    return max(1, int(batch))


def plan_waves(hosts: Sequence[str], canary: str | None, batch: int | str) -> tuple[tuple[str, ...], ...]:
    """Give the waves in order; without a canary named, the first host is it."""
    if not hosts:
        return ()
    first = canary or hosts[0]
    if first not in hosts:
        hint = "name a host of the selection with --canary, or widen --limit"
        raise UsageError(f"the canary {first} is not among the selected hosts", hint=hint)
    rest = [host for host in hosts if host != first]
    size = batch_size(batch, len(hosts))
    return ((first,), *(tuple(rest[i : i + size]) for i in range(0, len(rest), size)))
