"""What ssh's own configuration says of a host: Ansible reaches hosts by it, so everything else has to."""

import re
import subprocess
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path


CONFIG = Path("~/.ssh/config")
TIMEOUT_S = 10
PASSED_ON = ("proxyjump", "proxycommand", "identityfile", "identityagent", "certificatefile")

Values = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Configured:
    """Address, port and user as ssh would take them (None: it says nothing), and what else it would do."""

    address: str | None = None
    port: int | None = None
    user: str | None = None
    arguments: tuple[str, ...] = ()


def configured(address: str) -> Configured:
    """Ask ssh what it would do with a name; it is not asked where the user's configuration cannot matter."""
    try:
        text = CONFIG.expanduser().read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Configured()
    if not may_concern(text, address):
        return Configured()
    found, plain = _answer(address), _answer(address, "-F", "none")
    changed = {key: found[key] for key in found if found[key] != plain.get(key)}
    more = [part for key in PASSED_ON for value in changed.get(key, ()) for part in ("-o", f"{key}={value}")]
    port = changed.get("port", ("",))[0]
    return Configured(
        changed.get("hostname", (None,))[0],
        int(port) if port.isdigit() else None,
        changed.get("user", (None,))[0],
        tuple(more),
    )


def may_concern(text: str, address: str) -> bool:
    """Tell whether a configuration may hold something for a name; what ssh alone can tell, may."""
    inside = True
    for line in text.splitlines():
        words = re.split(r"[\s=]+", line.strip())
        keyword = words[0].lower()
        if not keyword or keyword.startswith("#"):
            continue
        if keyword in {"match", "include"}:
            return True
        if keyword == "host":
            inside = any(fnmatchcase(address, pattern.strip('"')) for pattern in words[1:])
        elif inside:
            return True
    return False


@lru_cache(maxsize=1024)
def _answer(address: str, *flags: str) -> Values:
    argv = ["ssh", *flags, "-G", "--", address]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    found: Values = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found[key] = (*found.get(key, ()), value)
    return found
