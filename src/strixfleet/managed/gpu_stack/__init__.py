"""Kernel, firmware, user space and the service account."""
