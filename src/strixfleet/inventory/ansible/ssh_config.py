"""
Find what ssh's own configuration has for a host: Ansible reaches hosts by it, so strixfleet has to.

ssh itself is asked (`ssh -G`), once per host, and once more without configuration for its defaults.
"""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache


TIMEOUT_S = 10
NO_HOST = "no-host"  # whose settings without configuration are ssh's defaults for every host
# What decides whether a login succeeds, beyond address, port and user: then ssh has to make the connection.
BEYOND_ADDRESS = frozenset(
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
    What ssh's configuration has for a name; None and False where it has nothing.

    `by_ssh` means that more than address, port and user is configured. `problem` is ssh's own complaint.
    """

    address: str | None = None
    port: int | None = None
    user: str | None = None
    host_key_alias: str | None = None
    by_ssh: bool = False
    proxied: bool = False
    problem: str = ""


def configured(address: str, arguments: Sequence[str] = ()) -> Configured:
    """Ask ssh what its configuration has for a name, beside what the arguments say."""
    found, problem = _answer(address, tuple(arguments))
    defaults, _ = _answer(NO_HOST, (*_without_file(arguments), "-F", "none"))
    defaults = {**defaults, "hostname": (address.lower(),)}
    changed = {key: values for key, values in found.items() if values != defaults.get(key)}
    port = changed.get("port", ("",))[0]
    return Configured(
        changed.get("hostname", (None,))[0],
        int(port) if port.isdigit() else None,
        changed.get("user", (None,))[0],
        changed.get("hostkeyalias", (None,))[0],
        by_ssh=bool(changed.keys() & BEYOND_ADDRESS),
        proxied=any(found.get(key, ("none",))[0] != "none" for key in PROXIES),
        problem=problem,
    )


def _without_file(arguments: Sequence[str]) -> Iterator[str]:
    words = iter(arguments)
    for word in words:
        if word == "-F":
            next(words, None)
        elif not word.startswith("-F"):
            yield word


@lru_cache(maxsize=4096)
def _answer(address: str, arguments: tuple[str, ...]) -> tuple[Values, str]:
    """Return ssh's settings for a name, and its complaint."""
    argv = ["ssh", *arguments, "-G", "--", address]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        return {}, ""  # without ssh no configuration is used
    except (OSError, subprocess.TimeoutExpired) as error:
        return {}, f"`ssh -G {address}` failed: {error}"
    if done.returncode != 0:
        return {}, (done.stderr.strip() or "ssh failed").splitlines()[-1]
    found: Values = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found[key] = (*found.get(key, ()), value)
    return found, ""
