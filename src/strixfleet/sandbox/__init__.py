"""Disposable hosts on this machine."""
