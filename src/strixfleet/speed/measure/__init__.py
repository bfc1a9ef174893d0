"""Measurements on a host."""
