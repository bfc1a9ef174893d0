"""Files that would hang or fill the machine: refused at once, in little memory, before Ansible sees them."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from strixfleet.inventory.files.yaml_file import scan_yaml


MEMORY_MAX_BYTES = 400 * 2**20  # of address space: Python, click, pydantic and PyYAML take half of it
LAUGHS = b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (level, level, b",".join([b"*a%d" % (level - 1)] * 10)) for level in range(1, 12)
)
BOMBS = {
    "aliases": (LAUGHS, "nodes, aliases expanded"),
    "long_text_aliased": (b"a: &a " + b"x" * 2_000_000 + b"\nb: [" + b"*a," * 60_000 + b"]\n", "nodes"),
    "merge_keys": (b"a: &a {b: c}\n" + b"".join(b"m%d:\n  <<: *a\n" % n for n in range(60_000)), "nodes"),
    "alias_keys": (b"a: &a [" + b"x," * 50_000 + b"]\n" + b"? *a\n: 1\n" * 20_000, "nodes"),
    "million_keys": (b"".join(b"k%d: 1\n" % number for number in range(350_000)), "nodes"),
    "deep_lists": (b"[" * 3_000_000, "nested more than"),
    "deep_maps": (b"{a: " * 900_000, "nested more than"),
    "deep_blocks": (b"\n".join(b" " * level + b"a:" for level in range(2_800)), "nested more than"),
    "dashes": (b"- " * 2_000_000, "nested more than"),
    "cycle": (b"a: &a {b: *a}\n", "refers to itself"),
    "nul": (b"a: b\n\0\n", "NUL byte"),
    "latin1": (b"a: \xe4\n", "not UTF-8"),
}
PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (15, 15))
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
from strixfleet.inventory.load import examine
from strixfleet.inventory.request import InventoryRequest
print(*examine(InventoryRequest((sys.argv[1],))).mistakes, sep="\\n")
# Not ru_maxrss: that starts at what the process that forked us held.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(name: str) -> None:
    data, message = BOMBS[name]
    scanned = scan_yaml("bomb.yml", data)
    assert message in scanned.mistakes[-1].message
    assert scanned.mistakes[-1].hint
    assert scanned.root is None


def examine_under_limits(folder: Path) -> tuple[str, int]:
    """Examine in a process of its own with 15 s of processor time: a bomb would take all of it."""
    argv = [sys.executable, "-c", PROGRAM.format(memory=MEMORY_MAX_BYTES), str(folder)]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, peak_kib = done.stdout.splitlines()
    return "\n".join(lines), int(peak_kib)


@pytest.mark.parametrize("name", ["aliases", "long_text_aliased", "million_keys", "deep_lists"])
def test_the_whole_inventory_under_limits(name: str, tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    h1:\n")
    (tmp_path / "group_vars" / "all.yml").write_bytes(BOMBS[name][0])
    text, peak_kib = examine_under_limits(tmp_path)
    assert BOMBS[name][1] in text
    assert "all.yml:" in text
    assert peak_kib < 200 * 1024


def test_a_hundred_megabytes(tmp_path: Path) -> None:
    with (tmp_path / "hosts.yml").open("wb") as stream:
        stream.truncate(100 * 2**20)
    text, peak_kib = examine_under_limits(tmp_path)
    assert "hosts.yml: has 100 MiB" in text
    assert peak_kib < 200 * 1024


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hosts.yml")
    text, _ = examine_under_limits(tmp_path)
    assert "is not a regular file" in text


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").symlink_to("hosts.yml")
    (tmp_path / "again").symlink_to(tmp_path)
    text, _ = examine_under_limits(tmp_path)
    assert "cannot be read" in text


def test_the_limits_are_really_set() -> None:
    assert resource.RLIMIT_AS != resource.RLIMIT_CPU
    argv = [sys.executable, "-c", PROGRAM.format(memory=20 * 2**20), "."]
    assert subprocess.run(argv, capture_output=True, check=False).returncode != 0
