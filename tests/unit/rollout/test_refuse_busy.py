"""Hosts that another rollout is changing: nobody else changes them."""

import pytest

from strixfleet.errors import LockHeld
from strixfleet.rollout.refuse_busy import refuse_busy, refuse_locked
from strixfleet.tools.lock_owner import owner
from tests.fixtures.rollout_hosts import answer


def test_a_living_operator_keeps_others_out_and_a_dead_one_does_not() -> None:
    refuse_busy({"h1": answer()})
    with pytest.raises(LockHeld, match="h1: locked by ann"):
        refuse_busy({"h1": answer(lock="ann@elsewhere (0a1b2c3d) pid 1")})
    dead = owner().rpartition(" ")[0] + " 4194305"  # above the largest pid
    refuse_locked({"h1": answer(lock=dead)})


def test_a_host_on_trial_is_not_changed_and_the_message_says_when_it_reverts() -> None:
    trial = answer("b2", {"to": "b2", "left_s": 31.0})
    expected = r"h2: is still running an unconfirmed build from an interrupted rollout; hint: wait 31 s"
    with pytest.raises(LockHeld, match=expected):
        refuse_busy({"h1": answer(), "h2": trial})
