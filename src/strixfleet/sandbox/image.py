"""
Build the base system that all sandbox hosts share, once, with mmdebstrap.

The folder is named after a digest of the recipe and appears by rename, so an incomplete one is never used.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from strixfleet import assets
from strixfleet.errors import SandboxError
from strixfleet.sandbox.machine_tools import run
from strixfleet.sandbox.sandbox_state import cache_dir


RELEASE = "trixie"
SUITES = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security", f"{RELEASE}-backports")
COMPONENTS = "main non-free-firmware"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PACKAGES = (
    "ca-certificates,dbus,iproute2,kmod,less,libpam-systemd,netbase,openssh-server,procps,python3,python3-apt,sudo,"
    "systemd,systemd-sysv,udev"
)
USED = ".used"  # suffix of a file whose time is that of the last use of a base system
UNFINISHED = "unfinished-"
KEEP_UNFINISHED_S = 24 * 3600
KEEP_UNUSED_S = 7 * 24 * 3600
APT_HELPER = "/usr/lib/apt/apt-helper"
CUSTOMISE = """set -e
umask 022
root=$1 files=$2 sources=$3 proxy=$4
useradd --root "$root" --create-home --shell /bin/bash --groups sudo strix
for program in update-grub update-initramfs; do
  chroot "$root" dpkg-divert --quiet --local --no-rename \\
    --divert /usr/sbin/$program.distrib --add /usr/sbin/$program
done
mkdir -p "$root/etc/default/grub.d" "$root/boot/grub" "$root/var/cache/strixfleet/ccache"
cp -R --no-preserve=mode,ownership "$files/." "$root/"
rm -rf "$root/usr/lib/strixfleet-sandbox/__pycache__"
chmod 0440 "$root/etc/sudoers.d/strix"
chmod 0755 "$root/usr/sbin/update-grub" "$root/usr/sbin/update-initramfs"
chmod 0755 "$root/etc/kernel/postinst.d/zz-update-grub"
rm -rf "$root"/etc/ssh/ssh_host_* "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
rm -f "$root/etc/resolv.conf" "$root/etc/hostname" "$root/var/lib/dbus/machine-id"
: >"$root/etc/machine-id"
cp "$sources" "$root/etc/apt/sources.list.d/debian.sources"
[ -z "$proxy" ] || echo "Acquire::http::Proxy \\"$proxy\\";" >"$root/etc/apt/apt.conf.d/90-proxy"
systemctl --root="$root" --quiet enable systemd-networkd
systemctl --root="$root" --quiet enable strixfleet-sandbox-hardware.service strixfleet-sandbox-power.path
systemctl --root="$root" --quiet disable systemd-networkd-wait-online
"""


def base_image(progress: Callable[[str], None]) -> Path:
    """Return the base system; build it on the first call."""
    files = recipe_files()
    folder = base_folder()
    if folder.is_dir():
        folder.with_suffix(USED).touch()
        return folder
    if not Path(KEYRING).exists():
        hint = "apt-get install debian-archive-keyring"
        raise SandboxError("the Debian archive keys are missing", where="sandbox", hint=hint)
    progress("building the base system (Debian 13; takes about a minute, then it is cached)")
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=cache_dir()) as temporary:
        root = Path(temporary) / "root"
        _bootstrap(root, Path(temporary) / "debian.sources")
        run(
            [
                "sh",
                "-c",
                CUSTOMISE,
                "customise",
                str(root),
                str(files),
                f"{temporary}/debian.sources",
                proxy(),
            ]
        )
        _rename(root, folder)
    folder.with_suffix(USED).touch()
    prune()
    return folder


def recipe_files() -> Path:
    """Return the folder of files that are copied to every host."""
    return assets.path("templates", "sandbox", "base")


def base_folder() -> Path:
    """Return the folder of the base system of the current recipe."""
    return cache_dir() / f"base-{recipe_digest(recipe_files())}"


def prune() -> None:
    """Remove base systems and their layers that were not used for a week and are not mounted."""
    for used in cache_dir().glob(f"base-*{USED}"):
        old = used.with_suffix("")
        if _age_s(used) > KEEP_UNUSED_S and not _is_mounted(old):
            used.unlink()
            shutil.rmtree(old, ignore_errors=True)
            shutil.rmtree(cache_dir() / "layers" / old.name, ignore_errors=True)
    for broken in cache_dir().glob(f"{UNFINISHED}*"):
        if _age_s(broken) > KEEP_UNFINISHED_S:
            shutil.rmtree(broken, ignore_errors=True)


def _age_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _is_mounted(folder: Path) -> bool:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (process / "mountinfo").read_bytes():
                return True
        except OSError:  # ended meanwhile
            continue
    return False


def _bootstrap(root: Path, sources: Path) -> None:
    main, security = mirrors()
    argv = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(root)]
    if main:
        sources.write_text(apt_sources(main, security), encoding="utf-8")
        run([*argv, str(sources)])
        return
    run(argv)  # this machine has no Debian mirror (Ubuntu); mmdebstrap uses its own
    known = re.findall(
        r"^deb (?:\[[^]]*\] )?(\S+) (\S+)", (root / "etc/apt/sources.list").read_text(), re.MULTILINE
    )
    by_suite = {suite: uri.rstrip("/") for uri, suite in known}
    sources.write_text(
        apt_sources(by_suite[RELEASE], by_suite.get(f"{RELEASE}-security", "")), encoding="utf-8"
    )


def _rename(root: Path, folder: Path) -> None:
    try:
        root.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process was faster, with the same result
            raise


def recipe_digest(files: Path) -> str:
    """Return the digest of the recipe: packages, script, files and the machine's mirrors."""
    digest = hashlib.sha256(repr((PACKAGES, CUSTOMISE, SUITES, COMPONENTS, mirrors(), proxy())).encode())
    for path in sorted(p for p in files.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(str(path.relative_to(files)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def mirrors() -> tuple[str, str]:
    """Return the Debian mirror and the security mirror of this machine; empty if it has none."""
    listing = run(["apt-get", "indextargets", "--format", "$(CREATED_BY) $(REPO_URI) $(RELEASE)"])
    found = {"main": "", "security": ""}
    for line in sorted(set(listing.splitlines())):
        made_by, uri, *rest = line.split()
        if made_by == "Packages" and re.search(r"/debian(-security)?/?$", uri):
            kind = "security" if rest and rest[-1].endswith("-security") else "main"
            found[kind] = found[kind] or uri.rstrip("/")
    return found["main"], found["security"]


def apt_sources(main: str, security: str) -> str:
    """Return debian.sources with the suites that can be reached."""
    stanzas = []
    for suite in SUITES:
        uri = security if suite.endswith("-security") else main
        if uri and (suite == RELEASE or reachable(f"{uri}/dists/{suite}/InRelease")):
            stanzas.append((uri, suite))
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {COMPONENTS}\nSigned-By: {KEYRING}\n"
        for uri, suite in stanzas
    )


def reachable(url: str) -> bool:
    """Tell whether apt can download a file, with apt's own proxies and authentication."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            run([APT_HELPER, "download-file", url, f"{folder}/file"])
        except SandboxError:
            return False
    return True


def proxy() -> str:
    """Return the http proxy of this machine's apt; the hosts use it as well."""
    return (
        run(["apt-config", "shell", "proxy", "Acquire::http::Proxy"])
        .removeprefix("proxy=")
        .strip()
        .strip("'")
    )
