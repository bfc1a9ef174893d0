"""Differences, verdicts, reports, and the store of recorded runs."""
