"""Kernel arguments: what the boot loader or the kernel would misread, and what would strand a host."""

import re

from strixfleet.inventory.schema.field_types import quoted, refusal


KERNEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
KERNEL_VALUE = re.compile(r"[A-Za-z0-9._,:/=@+%~\[\]!#$-]*\Z")  # `memmap=2G$4G`, `acpi_osi=!Windows`
IOMMU_VALUES = frozenset(
    {"off", "on", "fullflush", "force_isolation", "force_enable", "pgtbl_v1", "pgtbl_v2"}
)
_BY_GTT = "set kernel_gtt_gib, from which both parameters derive"
_ROOT = "drop it: strixfleet does not manage the root file system"
_INIT = "drop it: strixfleet does not manage the init process"
# Neither set nor taken away: a host does not boot without them.
_UNTOUCHED = {
    "root": _ROOT,
    "rootflags": _ROOT,
    "rootfstype": _ROOT,
    "ro": _ROOT,
    "rw": _ROOT,
    "init": _INIT,
    "rdinit": _INIT,
}
_RESCUE = "drop it: the host would boot without network and ssh, out of reach"
_NO_GPU = "drop it: amdgpu would not start, and the host would have no GPU"
_NOT_SET = {
    "amdgpu.gtt_size": "the parameter is amdgpu.gttsize, and kernel_gtt_gib writes it",
    "amdgpu.gttsize": _BY_GTT,
    "ttm.pages_limit": _BY_GTT,
    "ttm.page_limit": "the parameter is ttm.pages_limit, and kernel_gtt_gib writes it",
    "amdttm.pages_limit": "set kernel_gtt_gib; amdttm.* is only read by the out-of-tree driver",
    "amdttm.page_pool_size": "write ttm.page_pool_size; amdttm.* is only read by the out-of-tree driver",
    "mem": "drop it: the system and the GPU share this memory; kernel_gtt_gib limits the GPU's part",
    "nomodeset": _NO_GPU,
    "amdgpu.modeset": _NO_GPU,
    "systemd.mask": "mask units on the host itself: a masked ssh or network puts it out of reach",
    **dict.fromkeys(("systemd.unit", "rd.systemd.unit", "rescue", "emergency", "single", "s"), _RESCUE),
    **dict.fromkeys(("rd.break", "break"), _RESCUE),
}
_BLACKLISTS = frozenset(
    {"module_blacklist", "modprobe.blacklist", "rd.driver.blacklist", "initcall_blacklist"}
)
_NEEDED_MODULES = frozenset({"amdgpu", "amdgpu_init", "ttm", "drm", "drm_ttm_helper"})


def kernel_argument(name: str, value: str | None) -> str | None:
    """Refuse what would be read differently from what is written, and what would strand the host."""
    if not KERNEL_NAME.match(name):
        raise refusal(
            "kernel",
            f"{quoted(name)} is not a valid kernel argument",
            "write `name: value`, no blanks or quotes",
        )
    plain = name.lower().replace("-", "_")
    if hint := _UNTOUCHED.get(plain) or (None if value == "absent" else _NOT_SET.get(plain)):
        verb = "taken away" if value == "absent" else "set"
        raise refusal("kernel", f"`{name}` cannot be {verb} in kernel_arguments", hint)
    if value == "absent":
        return value
    if value is not None and not KERNEL_VALUE.match(value):
        raise refusal(
            "kernel", f"the value {quoted(value)} has blanks or quotes", "write one word without quotes"
        )
    _check_blacklist(name, plain, value or "")
    if name == "amd_iommu" and value == "pt":
        raise refusal("kernel", "amd_iommu=pt is not a value that the kernel knows", "write `iommu: pt`")
    if name == "amd_iommu" and value not in IOMMU_VALUES:
        raise refusal(
            "kernel",
            f"amd_iommu={value} is not a value that the kernel knows",
            'write amd_iommu: "off", or drop it',
        )
    return value


def _check_blacklist(name: str, plain: str, value: str) -> None:
    needed = _NEEDED_MODULES & set(value.replace("-", "_").split(","))
    if plain in _BLACKLISTS and needed:
        raise refusal("kernel", f"`{name}` would keep {min(needed)} from loading", "leave it out of the list")
