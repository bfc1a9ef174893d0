"""
Answer a list of questions about this host, in one go, and write nothing.

Runs on the managed host as `python3 -I -c …`: standard library of Python 3.9 or newer, and nothing of ours.
It gets a request {"root": str, "questions": [[verb, subject], …]} and prints one JSON line after SENTINEL.
`root` is a folder that stands in for /proc and /sys on hosts that present a simulated box.
"""

import glob
import grp
import hashlib
import json
import os
import pwd
import subprocess
import urllib.error
import urllib.request


SENTINEL = "strixfleet-probe-answers:"
READ_LIMIT = 256 * 1024
APT_TARGET = "\t".join("$(%s)" % name for name in ("REPO_URI", "RELEASE", "COMPONENT", "SOURCESENTRY"))
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
    "host_program": ["/opt/strixfleet/lib/strixfleet-host", "status"],
}
UNIT_PROPERTIES = (
    "LoadState,ActiveState,SubState,Result,UnitFileState,MainPID,NRestarts,NeedDaemonReload,FragmentPath,"
    "DropInPaths,InvocationID,ActiveEnterTimestampMonotonic"
)


def under(root, path):
    """Send /proc and /sys of a simulated host to its stand-in, except what is about real processes."""
    if root and path.startswith(("/sys/", "/proc/")) and not path.startswith("/proc/sys/kernel/random/"):
        return root + path
    return path


def read(path, root):
    """Read a small text file."""
    try:
        with open(under(root, path), encoding="utf-8", errors="replace") as file:
            return file.read(READ_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return None


def globbed(pattern, root):
    """Read all small files that a pattern names."""
    found = {}
    for path in sorted(glob.glob(under(root, pattern)))[:512]:
        name = path[len(root) :] if root and path.startswith(root) else path
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found[name] = file.read(READ_LIMIT)
        except OSError as error:
            found[name] = None if isinstance(error, FileNotFoundError) else ""
    return found


def names(path, root):
    """List a directory."""
    try:
        return sorted(os.listdir(under(root, path)))
    except (FileNotFoundError, NotADirectoryError):
        return None


def owner_of(status):
    """Name owner and group, by number where they have no name."""
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = str(status.st_uid)
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return owner, group


def sha256(path):
    """Digest a file of any size."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def digest(path, _root):
    """Digest a managed file, with mode and owner; a link or a folder in its place is said."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    owner, group = owner_of(status)
    row = {"mode": "%04o" % (status.st_mode & 0o7777), "owner": owner, "group": group}
    if os.path.islink(path):
        row["sha256"] = "-> " + os.readlink(path)
    elif os.path.isdir(path):
        row["sha256"] = "directory"
    else:
        row["sha256"] = sha256(path)
    return row


def stat(path, _root):
    """Describe a file without reading it."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    owner, group = owner_of(status)
    return {
        "size_bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "inode": status.st_ino,
        "mode": "%04o" % (status.st_mode & 0o7777),
        "owner": owner,
        "group": group,
        "directory": os.path.isdir(path),
    }


def tree(path, _root):
    """Digest all files below a folder."""
    if not os.path.isdir(path):
        return None
    found = {}
    for folder, _folders, files in os.walk(path):
        for name in files:
            full = os.path.join(folder, name)
            relative = os.path.relpath(full, path)
            found[relative] = "-> " + os.readlink(full) if os.path.islink(full) else sha256(full)
    return found


def link(path, _root):
    """Read a link."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError:
        return "not a link"


def run(argv, timeout_s=10):
    """Run one program without a shell."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=timeout_s,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    )
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def units(wanted):
    """Ask systemd about all units at once."""
    code, out, err = run(["systemctl", "show", "--property=Id," + UNIT_PROPERTIES, "--", *wanted])
    if code != 0:
        raise OSError(err.strip() or "systemctl failed")
    found = {}
    for name, text in zip(wanted, [block for block in out.split("\n\n") if block.strip()]):
        block = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        block.update(process(block.get("MainPID", "0")))
        found[name] = block
    return found


def process(pid):
    """Say which program a process runs and with which of our configurations."""
    if pid in ("0", ""):
        return {}
    row = {}
    try:
        row["exe"] = os.readlink("/proc/%s/exe" % pid)
        with open("/proc/%s/environ" % pid, "rb") as file:
            for pair in file.read().split(b"\0"):
                if pair.startswith(b"STRIXFLEET_CONFIG="):
                    row["config"] = pair.split(b"=", 1)[1].decode("ascii", "replace")
    except OSError:
        pass
    return row


def packages(wanted):
    """Ask dpkg about all packages at once; an unknown one answers None."""
    form = "-f=${Package} ${db:Status-Status} ${Version}\\n"
    _code, out, _err = run(["dpkg-query", "-W", form, "--", *wanted])
    found = dict.fromkeys(wanted)
    for line in out.splitlines():
        name, _, rest = line.partition(" ")
        status, _, version = rest.partition(" ")
        if status == "installed":
            found[name] = version
    return found


def user(name, _root):
    """Describe an account and its groups."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = {grp.getgrgid(number).gr_name for number in os.getgrouplist(name, entry.pw_gid)}
    return {"uid": entry.pw_uid, "shell": entry.pw_shell, "home": entry.pw_dir, "groups": sorted(groups)}


def space(path, _root):
    """Return the free bytes of the file system that holds a path, or would hold it."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def http(subject, _root):
    """Fetch a small JSON answer from a server on this host."""
    url, _, key_file = subject.partition(" key=")
    if not url.startswith("http://"):
        raise ValueError("only http on this host")
    headers = {}
    if key_file and os.path.exists(key_file):
        with open(key_file, encoding="utf-8") as file:
            headers["Authorization"] = "Bearer " + file.readline().strip()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=3) as response:
            status, body = response.status, response.read(READ_LIMIT)
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read(READ_LIMIT)
    except (urllib.error.URLError, OSError, TimeoutError) as error:
        return {"status": 0, "body": str(getattr(error, "reason", error))}
    try:
        return {"status": status, "body": json.loads(body)}
    except ValueError:
        return {"status": status, "body": None}


def parameters(module, root):
    """List the parameters of a kernel module, loaded or not, built in or not; None where there is none."""
    shown = names("/sys/module/%s/parameters" % module, root) or []
    if root:
        listed = read(root + "/modinfo/" + module, "")
        return sorted({*listed.split(), *shown}) if listed is not None else (shown or None)
    try:
        code, out, _err = run(["modinfo", "-F", "parm", "--", module])
    except FileNotFoundError:
        raise OSError("modinfo is not installed") from None
    if code != 0:
        return shown or None
    return sorted({*(line.split(":")[0] for line in out.splitlines()), *shown})


def command(name, root):
    """Run a program of the fixed table; None where it is not installed."""
    if name == "simulated":
        return read(root + "/SIMULATED", "") if root else None
    try:
        code, out, err = run(COMMANDS[name])
    except FileNotFoundError:
        return None
    if code != 0 and not out:
        raise OSError(err.strip()[-300:] or "exit code %d" % code)
    return out[:READ_LIMIT]


SINGLE = {
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
    "run": command,
    "parameters": parameters,
}
TOGETHER = {"unit": units, "package": packages}


def answer(request):
    """Return [[verb, subject, value, error], …]; one question's error is its own."""
    root, rows = request["root"], []
    for verb, ask in TOGETHER.items():
        wanted = [subject for asked, subject in request["questions"] if asked == verb]
        if not wanted:
            continue
        try:
            found, error = ask(wanted), None
        except Exception as problem:
            found, error = {}, "%s: %s" % (type(problem).__name__, problem)
        rows.extend([verb, subject, found.get(subject), error] for subject in wanted)
    for verb, subject in request["questions"]:
        if verb in TOGETHER:
            continue
        try:
            rows.append([verb, subject, SINGLE[verb](subject, root), None])
        except Exception as problem:
            rows.append([verb, subject, None, "%s: %s" % (type(problem).__name__, problem)])
    return rows


def main(request):
    """Print the answers on one line after the sentinel, so that a chatty login shell cannot corrupt them."""
    print(SENTINEL + json.dumps(answer(request)))
