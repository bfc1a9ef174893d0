"""Kernel arguments."""
