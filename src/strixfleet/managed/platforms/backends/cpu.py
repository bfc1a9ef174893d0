"""The CPU: what a host without a usable GPU computes with."""

from strixfleet.managed.platforms.backends.backend import GIB, Backend


CPU = Backend(name="cpu", needed_disk_bytes=3 * GIB, build_min=8.0, reported_as=("CPU", "BLAS"))
