"""Fixtures that several tests of rollouts share."""

from tests.fixtures.rollout_hosts import counting_site


__all__ = ["counting_site"]
