"""
What ssh's own configuration says of a host: Ansible reaches hosts by it, so everything else has to.

ssh itself is asked (`ssh -G`), and only where a file says something that matters for the name.
"""

import os
import pwd
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path


SYSTEM_WIDE = Path("/etc/ssh/ssh_config")
TIMEOUT_S = 10
PLACE = frozenset({"hostname", "port", "user"})
# What decides whether a login succeeds, beyond the place: then ssh itself has to make the connection.
WAYS = frozenset(
    {
        *("proxyjump", "proxycommand", "hostkeyalias", "addressfamily", "bindaddress", "bindinterface"),
        *("identityfile", "identityagent", "identitiesonly", "certificatefile", "pkcs11provider"),
        *("securitykeyprovider", "ciphers", "kexalgorithms", "macs", "hostkeyalgorithms"),
        *("pubkeyacceptedalgorithms", "canonicalizehostname", "canonicaldomains"),
    }
)
PROXIES = ("proxyjump", "proxycommand")

Values = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Configured:
    """
    What ssh would do with a name; None and False where its configuration says nothing of it.

    `by_ssh`: more than address, port and user is configured. `problem` is what ssh itself complains of.
    """

    address: str | None = None
    port: int | None = None
    user: str | None = None
    host_key_alias: str | None = None
    by_ssh: bool = False
    proxied: bool = False
    problem: str = ""


def configured(address: str, arguments: Sequence[str] = ()) -> Configured:
    """Ask ssh what it would do with a name, given what it is told anyway: arguments, user and port."""
    if not (_names_a_file(arguments) or may_concern(_lines(), address)):
        return Configured()
    found, problem = _answer(address, tuple(arguments))
    plain, _ = _answer(address, (*_without_file(arguments), "-F", "none"))
    changed = {key: values for key, values in found.items() if values != plain.get(key)}
    port = changed.get("port", ("",))[0]
    return Configured(
        changed.get("hostname", (None,))[0],
        int(port) if port.isdigit() else None,
        changed.get("user", (None,))[0],
        changed.get("hostkeyalias", (None,))[0],
        by_ssh=bool(changed.keys() & WAYS),
        proxied=any(found.get(key, ("none",))[0] != "none" for key in PROXIES),
        problem=problem,
    )


def may_concern(lines: Iterator[str] | Sequence[str], address: str) -> bool:
    """Tell whether a configuration may hold something for a name; what ssh alone can tell, may."""
    inside = True
    for line in lines:
        words = re.split(r"[\s=]+", line.strip())
        keyword = words[0].lower()
        if keyword == "match":
            return True
        if keyword == "host":
            inside = any(fnmatchcase(address, pattern.strip('"')) for pattern in words[1:])
        elif inside and keyword in PLACE | WAYS:
            return True
    return False


def _lines() -> Iterator[str]:
    yield from _lines_of(Path(pwd.getpwuid(os.getuid()).pw_dir) / ".ssh" / "config")
    yield from _lines_of(SYSTEM_WIDE)


def _lines_of(path: Path, depth: int = 0) -> Iterator[str]:
    """Return a file's lines, and in their place those of the files that it includes."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    yield "Host *"  # what stands above the first pattern is for all
    for line in lines:
        words = line.split()
        if not words or words[0].lower() != "include":
            yield line
        elif depth < 8:  # noqa: PLR2004 - ssh itself allows 16
            for pattern in words[1:]:
                for one in _matching(pattern.strip('"'), path.parent):
                    yield from _lines_of(one, depth + 1)


def _matching(pattern: str, folder: Path) -> list[Path]:
    path = folder / Path(pattern).expanduser()
    return sorted(path.parent.glob(path.name))


def _names_a_file(arguments: Sequence[str]) -> bool:
    return any(word.startswith("-F") for word in arguments)


def _without_file(arguments: Sequence[str]) -> Iterator[str]:
    words = iter(arguments)
    for word in words:
        if word == "-F":
            next(words, None)
        elif not word.startswith("-F"):
            yield word


@lru_cache(maxsize=4096)
def _answer(address: str, arguments: tuple[str, ...]) -> tuple[Values, str]:
    """Return what ssh would do, and what it complains of."""
    argv = ["ssh", *arguments, "-G", "--", address]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {}, f"ssh did not say how it would connect: {error}"
    if done.returncode != 0:
        return {}, (done.stderr.strip() or "ssh failed").splitlines()[-1]
    found: Values = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found[key] = (*found.get(key, ()), value)
    return found, ""
