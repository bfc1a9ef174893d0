"""
What a program of a build may do, wherever it runs: as a server, as a benchmark, or to print its help.

One statement for the unit of the servers, which the controller writes, and for the transient units in which
hosts run anything else of a build. Pure.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence


READERS = "strixfleet"  # the group that may read the models
PROPERTIES = (
    ("OOMPolicy", "stop"),
    ("OOMScoreAdjust", "200"),
    ("LimitMEMLOCK", "infinity"),
    ("LimitNOFILE", "65536"),
    ("LimitCORE", "0"),
    # DevicePolicy is stated because ProtectClock would else make a list of its own that hides the GPU
    # (systemd#18142).
    ("DevicePolicy", "closed"),
    # All of /proc and /sys stay readable: Vulkan and ROCm look there for the GPU.
    ("ProcSubset", "all"),
    ("ProtectProc", "invisible"),
    ("ProtectSystem", "strict"),
    ("PrivateTmp", "yes"),
    ("InaccessiblePaths", "-/etc/strixfleet/keys -/var/lib/tailscale"),
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("ProtectClock", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("KeyringMode", "private"),
    ("RemoveIPC", "yes"),
    ("UMask", "0077"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallErrorNumber", "EPERM"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged @mount @reboot @swap @obsolete"),
    ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
    ("IPAddressDeny", "any"),
)
RUN_ONLY = (
    ("Type", "exec"),
    ("PrivateNetwork", "yes"),
    ("KillMode", "control-group"),
    ("KillSignal", "SIGKILL"),
    ("TimeoutStopSec", "10"),
    ("WorkingDirectory", "/"),
)
RUN_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/tmp"}  # noqa: S108 - its own


class Allowed(NamedTuple):
    """What one run may use beside PROPERTIES; `files` would else be hidden, `cores` are all where empty."""

    devices: tuple[str, ...] = ()
    write_and_execute: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()
    nice: int = 0

    @classmethod
    def of(cls, request: dict[str, Any]) -> Allowed:
        """Read it from a request; what is not there is not allowed."""
        return cls(
            devices=tuple(request.get("devices") or ()),
            write_and_execute=bool(request.get("write_and_execute")),
            environment=tuple((request.get("environment") or {}).items()),
            files=tuple(request.get("files") or ()),
            cores=tuple(request.get("cores") or ()),
            nice=max(0, request.get("nice") or 0),
        )


def properties(devices: Sequence[str], write_and_execute: bool) -> list[tuple[str, str]]:
    """Return the properties of a unit that runs a program of a build, under an account of its own."""
    groups = [READERS, *(["render", "video"] if devices else [])]
    return [
        ("DynamicUser", "yes"),
        ("SupplementaryGroups", " ".join(groups)),
        *PROPERTIES,
        *(("DeviceAllow", device + " rw") for device in devices),
        ("PrivateDevices", "no" if devices else "yes"),
        ("MemoryDenyWriteExecute", "no" if write_and_execute else "yes"),
    ]


def home(files: Sequence[str]) -> list[tuple[str, str]]:
    """Return what hides the homes of people, other than these files."""
    if not files:
        return [("ProtectHome", "yes")]
    return [("ProtectHome", "tmpfs"), *(("BindReadOnlyPaths", _quoted(path)) for path in files)]


def run_argv(unit: str, words: Sequence[str], limit_s: float, allowed: Allowed) -> list[str]:
    """Return the command that runs a program in a transient unit, which ends all that it started."""
    settings = [
        *properties(allowed.devices, allowed.write_and_execute),
        *home(allowed.files),
        *RUN_ONLY,
        ("RuntimeMaxSec", "%d" % max(1, limit_s)),
        ("Nice", str(allowed.nice)),
    ]
    if allowed.cores:
        settings.append(("CPUAffinity", " ".join(map(str, allowed.cores))))
    return [
        *("systemd-run", "--quiet", "--collect", "--wait", "--pipe", "--unit=" + unit),
        *("--property=%s=%s" % row for row in settings),
        *("--setenv=%s=%s" % row for row in {**RUN_ENVIRONMENT, **dict(allowed.environment)}.items()),
        "--",
        *(word.replace("$", "$$") for word in words),  # systemd would replace variables
    ]


def _quoted(path: str) -> str:
    return '"%s"' % path.replace("\\", "\\\\").replace('"', '\\"')
