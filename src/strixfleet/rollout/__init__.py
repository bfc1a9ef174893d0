"""Upgrade, rollback and bisect."""
