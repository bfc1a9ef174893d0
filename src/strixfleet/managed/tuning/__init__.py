"""The power state."""
