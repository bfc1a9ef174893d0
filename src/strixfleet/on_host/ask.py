"""
Answer a list of questions about this host, in one go, and write nothing.

The request is {"root": str, "questions": [[verb, subject], …]}; the answer is a row for each question. `root`
is a folder that stands in for /proc and /sys on hosts that present a simulated box.
"""

from __future__ import annotations

import glob
import grp
import os
import pwd
from typing import Any, Callable
from urllib.parse import urlsplit

from . import command, exposed, files, process, systemd
from .files import under
from .http_client import Server


APT_TARGET = "\t".join("$(%s)" % name for name in ("REPO_URI", "RELEASE", "COMPONENT", "SOURCESENTRY"))
# What grub-mkconfig, a shell script, makes of its configuration.
GRUB_SETTINGS = """
for file in /etc/default/grub /etc/default/grub.d/*.cfg; do
    [ ! -e "$file" ] || . "$file"
done >/dev/null
one_line() { printf '%s' "$1" | tr '\\n' ' '; }
printf 'always=%s\\n' "$(one_line "$GRUB_CMDLINE_LINUX")"
printf 'normally=%s\\n' "$(one_line "$GRUB_CMDLINE_LINUX_DEFAULT")"
printf 'recovery=%s\\n' "$(one_line "$GRUB_CMDLINE_LINUX_RECOVERY")"
"""
COMMANDS = {
    "apt_targets": [
        "apt-get",
        "indextargets",
        "--no-release-info",  # also what was never downloaded
        "--format=" + APT_TARGET,
        "Created-By: Packages",
        "Architecture: amd64",
    ],
    "listeners": ["ss", "-Hltnp"],
    "tailscale": ["tailscale", "status", "--json", "--peers=false"],
    "tailscale_prefs": ["tailscale", "debug", "prefs"],
    "clock": ["date", "+%s"],
    "tuned": ["tuned-adm", "active"],
    "held": ["apt-mark", "showhold"],
    "grub_settings": ["sh", "-c", GRUB_SETTINGS],
}
COMMAND_TIMEOUT_S = 10.0
HTTP_TIMEOUT_S = 3.0
UNIT_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "UnitFileState",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
    "InvocationID",
    "ActiveEnterTimestampMonotonic",
)


def read(path: str, root: str) -> str | None:
    """Read a small text file."""
    return files.read_text(under(root, path))


def globbed(pattern: str, root: str) -> dict[str, str | None]:
    """Read all small files that a pattern names."""
    found: dict[str, str | None] = {}
    for path in sorted(glob.glob(under(root, pattern)))[:512]:
        name = path[len(root) :] if root and path.startswith(root) else path
        try:
            found[name] = files.read_text(path)
        except OSError:
            found[name] = ""
    return found


def names(path: str, root: str) -> list[str] | None:
    """List a directory."""
    try:
        return sorted(os.listdir(under(root, path)))
    except (FileNotFoundError, NotADirectoryError):
        return None


def digest(path: str, _root: str) -> dict[str, Any] | None:
    """Return a managed file's digest, mode and owner; where a link or a folder is in its place, say so."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    owner, group = files.owner_of(status)
    content = "directory" if os.path.isdir(path) and not os.path.islink(path) else files.digest(path)
    return {"mode": files.mode_of(status), "owner": owner, "group": group, "sha256": content}


def stat(path: str, _root: str) -> dict[str, Any] | None:
    """Describe a file without reading it."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    owner, group = files.owner_of(status)
    return {
        "size_bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "inode": status.st_ino,
        "mode": files.mode_of(status),
        "owner": owner,
        "group": group,
        "directory": os.path.isdir(path),
    }


def tree(path: str, _root: str) -> dict[str, str] | None:
    """Return the digests of all files below a folder."""
    if not os.path.isdir(path):
        return None
    found = {}
    for folder, _folders, entries in os.walk(path):
        for name in entries:
            full = os.path.join(folder, name)
            found[os.path.relpath(full, path)] = files.digest(full)
    return found


def link(path: str, _root: str) -> str | None:
    """Read a link."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError:
        return "not a link"


def units(wanted: list[str]) -> dict[str, Any]:
    """Ask systemd about all units at once, and /proc about their main processes."""
    found = systemd.show(wanted, UNIT_PROPERTIES)
    for shown in found.values():
        pid = int(shown.get("MainPID") or 0)
        shown.update(process.running(pid) if pid else {})
        if pid and (newer := systemd.changed_since_start(shown, pid)):
            shown["newer"] = " ".join(newer)
    return found


def packages(wanted: list[str]) -> dict[str, Any]:
    """Ask dpkg about all packages at once; an unknown one answers None."""
    form = "-f=${Package} ${db:Status-Status} ${Version}\\n"
    done = command.run(["dpkg-query", "-W", form, "--", *wanted], COMMAND_TIMEOUT_S)
    found: dict[str, Any] = dict.fromkeys(wanted)
    for line in done.out.splitlines():
        name, _, rest = line.partition(" ")
        status, _, version = rest.partition(" ")
        if status == "installed":
            found[name] = version
    return found


def user(name: str, _root: str) -> dict[str, Any] | None:
    """Describe an account and its groups."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = {grp.getgrgid(number).gr_name for number in os.getgrouplist(name, entry.pw_gid)}
    return {"uid": entry.pw_uid, "shell": entry.pw_shell, "home": entry.pw_dir, "groups": sorted(groups)}


def space(path: str, _root: str) -> int:
    """Return the free bytes of the file system that holds a path, or would hold it."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def http(subject: str, _root: str) -> dict[str, Any]:
    """Fetch a small JSON answer from a server on this host; the subject is `url` or `url key=path`."""
    url, _, key_file = subject.partition(" key=")
    path = urlsplit(url)._replace(scheme="", netloc="").geturl() or "/"
    reply = Server(url, key_file, HTTP_TIMEOUT_S).ask(path)
    return {"status": reply.status, "body": reply.json() if reply.status else reply.text}


def parameters(module: str, root: str) -> list[str] | None:
    """List the parameters of a kernel module, loaded or not, built in or not; None where there is none."""
    shown = names("/sys/module/%s/parameters" % module, root) or []
    if root:
        listed = files.read_text("%s/modinfo/%s" % (root, module))
        return sorted({*listed.split(), *shown}) if listed is not None else (shown or None)
    try:
        done = command.run(["modinfo", "-F", "parm", "--", module], COMMAND_TIMEOUT_S)
    except FileNotFoundError:
        raise OSError("modinfo is not installed") from None
    if done.code != 0:
        return shown or None
    return sorted({*(line.split(":")[0] for line in done.out.splitlines()), *shown})


def run(name: str, root: str) -> str | None:
    """Run a program of the fixed table; None where it is not installed."""
    if name == "simulated":
        return files.read_text(root + "/SIMULATED") if root else None
    try:
        done = command.run(COMMANDS[name], COMMAND_TIMEOUT_S)
    except FileNotFoundError:
        return None
    if done.code != 0 and not done.out:
        raise OSError(done.err.strip()[-300:] or "exit code %d" % done.code)
    return done.out[: files.READ_LIMIT_BYTES]


SINGLE: dict[str, Callable[[str, str], Any]] = {
    "read": read,
    "glob": globbed,
    "names": names,
    "digest": digest,
    "stat": stat,
    "tree": tree,
    "link": link,
    "user": user,
    "space": space,
    "http": http,
    "run": run,
    "parameters": parameters,
    "writable": exposed.writable,
    "copies": exposed.running_copies,
}
TOGETHER: dict[str, Callable[[list[str]], dict[str, Any]]] = {"unit": units, "package": packages}


def answer(request: dict[str, Any]) -> list[list[Any]]:
    """Return [[verb, subject, value, error], …]; one question's error is its own."""
    root: str = request["root"]
    rows: list[list[Any]] = []
    for verb, ask in TOGETHER.items():
        wanted = [subject for asked, subject in request["questions"] if asked == verb]
        if not wanted:
            continue
        found, error = attempted(ask, wanted)
        rows.extend([verb, subject, (found or {}).get(subject), error] for subject in wanted)
    for verb, subject in request["questions"]:
        if verb not in TOGETHER:
            rows.append([verb, subject, *attempted(SINGLE[verb], subject, root)])
    return rows


def attempted(ask: Callable[..., Any], *subject: Any) -> tuple[Any, str | None]:
    """Return what a question yields, and why it cannot be answered."""
    try:
        return ask(*subject), None
    except Exception as problem:
        return None, "%s: %s" % (type(problem).__name__, problem)
