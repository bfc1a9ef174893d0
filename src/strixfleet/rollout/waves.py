"""Which hosts go when: the canary alone, then batches."""

import re
from collections.abc import Sequence

from strixfleet.errors import UsageError


_PERCENT = "%"


def batch_size(batch: int | str, hosts: int) -> int:
    """Return the number of hosts in a batch; a share of all hosts is rounded down, to one at least."""
    number = str(batch).removesuffix(_PERCENT)
    if not re.fullmatch(r"[1-9][0-9]{0,3}", number):
        hint = 'give a number of hosts such as 2, or a share such as "25%"'
        raise UsageError(f"{str(batch)[:20]!r} is not a valid batch size", where="--batch", hint=hint)
    if str(batch).endswith(_PERCENT):
        return max(1, hosts * min(100, int(number)) // 100)
    return int(number)


def plan_waves(hosts: Sequence[str], canary: str | None, batch: int | str) -> tuple[tuple[str, ...], ...]:
    """Return the waves in order; the canary is the first host unless another one is named."""
    if not hosts:
        return ()
    first = canary or hosts[0]
    if first not in hosts:
        hint = "name a host of the selection with --canary, or widen --limit"
        raise UsageError(f"the canary {first} is not among the selected hosts", hint=hint)
    rest = [host for host in hosts if host != first]
    size = batch_size(batch, len(hosts))
    return ((first,), *(tuple(rest[i : i + size]) for i in range(0, len(rest), size)))
