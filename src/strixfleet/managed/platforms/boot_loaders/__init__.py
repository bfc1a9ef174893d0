"""Boot loaders: how each is told kernel arguments, and what it will boot."""

from strixfleet.managed.platforms.boot_loaders.boot_loader import Boot, BootLoader
from strixfleet.managed.platforms.boot_loaders.grub import GRUB


BOOT_LOADERS: tuple[BootLoader, ...] = (GRUB,)


__all__ = ["BOOT_LOADERS", "GRUB", "Boot", "BootLoader"]
