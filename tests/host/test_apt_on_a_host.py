"""The real apt and dpkg after a power cut, and while somebody else works with them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest
from strixfleet.tools.ansible_playbook import collections_path
from tests.host.outside import root


pytestmark = pytest.mark.host
NAME = f"apt-{os.getpid()}"  # free: test_interrupted_tests.py runs this file, too
HOST = f"{NAME}-1"
# What dpkg's status says of a library that was cut while it was unpacked, and of what needs it.
CUT = """
set -e
apt-get update -q >/dev/null
apt-get install -qy jq >/dev/null
library=$(dpkg-query -W -f '${Package}' 'libjq1*')
mark() { sed -i "/^Package: $1\\$/,/^\\$/s/^Status: .*/Status: install $2/" /var/lib/dpkg/status; }
mark "$library" 'reinstreq half-installed'
mark jq 'ok unpacked'
rm /usr/lib/*/libjq.so.1*
! dpkg --configure -a >/dev/null 2>&1
"""
HOLD = """systemd-run --quiet --unit=holder python3 -c '
import fcntl, time
file = open("/var/lib/apt/lists/lock", "w")
fcntl.lockf(file, fcntl.LOCK_EX)
time.sleep(15)'
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Sandbox]:
    yield lifecycle.create(SandboxRequest(name=NAME, hosts=1))
    lifecycle.destroy(NAME)


def install(made: Sandbox, package: str) -> str:
    """Run the module as a role does; return what Ansible prints."""
    argv = [str(Path(sys.executable).with_name("ansible")), "-i", str(made.inventory), "-b", HOST]
    words = ["-m", "strixfleet.fleet.apt_packages", "-a", json.dumps({"packages": [{"name": package}]})]
    own = {
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "ANSIBLE_SSH_ARGS": f"-F {made.ssh_config}",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
    }
    done = subprocess.run(
        [*argv, *words], env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=300
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_a_power_cut_while_dpkg_unpacks_is_mended_by_a_rerun(made: Sandbox) -> None:
    root(made, HOST, CUT)
    assert "CHANGED" in install(made, "bc")
    assert root(made, HOST, "echo '[1]' | jq '.[0]'; dpkg --audit") == "1\n"


def test_who_holds_apt_is_said_while_it_is_waited_for(made: Sandbox) -> None:
    root(made, HOST, HOLD)
    said = install(made, "tree")
    assert "waiting for apt, which process " in said
    assert "python3 -c" in said
    assert root(made, HOST, "command -v tree") == "/usr/bin/tree\n"
