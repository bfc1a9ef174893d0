"""Settings under which git treats a hostile repository as data, for controller and host alike."""

from __future__ import annotations


OPTIONS = {
    "transfer.fsckObjects": "true",
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.http.allow": "user",  # where the inventory says so; no redirect leads there
    "protocol.file.allow": "always",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "120",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.autocrlf": "false",
    "core.attributesFile": "/dev/null",
    "advice.detachedHead": "false",
    "gc.auto": "0",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "safe.directory": "*",
}
ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
}


def command(more_options: dict[str, str] | None = None) -> list[str]:
    """Return the beginning of a git command line."""
    argv = ["git"]
    for name, value in {**OPTIONS, **(more_options or {})}.items():
        argv += ["-c", "%s=%s" % (name, value)]
    return argv
