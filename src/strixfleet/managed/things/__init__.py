"""The kinds of things that are managed."""
