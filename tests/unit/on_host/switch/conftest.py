"""A machine whose builds are switched."""

from tests.fixtures.switching import clock, machine, serving


__all__ = ["clock", "machine", "serving"]
