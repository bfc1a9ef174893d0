"""Ansible's own loader, vault and connection variables."""
