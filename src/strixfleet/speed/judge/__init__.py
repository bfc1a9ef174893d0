"""Verdicts on measurements."""
