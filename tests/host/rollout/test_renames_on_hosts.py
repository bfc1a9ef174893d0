"""A build that spells an option differently is told so, and the old build is told what it knows."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.host.rollout.conftest import SOAK, Site, tag_of


pytestmark = pytest.mark.host

RENAMED = {"imitated-flag": None, "no-mmap": None}
HEALTH = (
    'python3 -c "import urllib.request as u; print(u.urlopen(\\"http://localhost:8080/health\\").status)"'
)


def told(site: Site, host: str) -> str:
    """Return the command line of a server that answers."""
    assert site.run(host, HEALTH) == "200"
    pid = site.run(host, "systemctl show -P MainPID llama-server@chat")
    return site.run(host, f'tr "\\000" " " < /proc/{pid}/cmdline')


def use(site: Site, **arguments: None) -> None:
    (instance,) = site.settings["llama_server_instances"]
    site.write(llama_server_instances=[{**instance, "arguments": {**RENAMED, **arguments}}])
    site.play()


def audit_is_clean(site: Site) -> None:
    """Look at what this is about: the builds, the spelling, the servers."""
    _code, audited, said = site.call("audit")
    for row in audited["hosts"].values():
        wrong = [item for item in row["items"] if item["id"].startswith("llama_") and item["status"] != "ok"]
        assert wrong == [], said


def test_a_no_leaves_all_as_it_is(site: Site) -> None:
    use(site)
    before = {name: site.digest(name) for name in site.names}
    program = str(Path(sys.executable).with_name("strixfleet"))
    argv = [program, "upgrade", "-i", str(site.made.inventory), "--to", tag_of("renamed_flag")]
    done = subprocess.run(
        argv,
        input="y\nn\n",
        env=site.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("Use the renamed options for the new build?") == 1
    for name in site.names:
        assert f"{name}: chat: --no-mmap → --load-mode none" in done.stderr
        assert "--no-mmap" in told(site, name)
    assert "chat: --no-mmap, which is now `--load-mode none`" in done.stderr
    assert {name: site.digest(name) for name in site.names} == before


def test_an_option_is_spelled_anew_with_the_build_and_back_with_it(site: Site) -> None:
    use(site)
    for name in site.names:
        assert "--no-mmap" in told(site, name)
    tag = tag_of("renamed_flag")
    code, document, said = site.call("upgrade", "--to", tag, "--yes", "--soak", SOAK)
    assert code == 0, said
    site.settings["llama_cpp_ref"] = tag
    for name, row in document["hosts"].items():
        assert row["outcome"] == "upgraded"
        assert "write `load-mode: none`" in " ".join(row["notes"])
        words = told(site, name)
        assert "--load-mode none" in words
        assert "--no-mmap" not in words
    audit_is_clean(site)

    last = site.names[-1]
    code, _document, said = site.call("rollback", "--yes", "-l", last)
    assert code == 0, said
    assert site.current(last).startswith("v1.0.0-")
    words = told(site, last)
    assert "--no-mmap" in words
    assert "--load-mode" not in words


def test_provision_spells_for_whichever_build_is_current(site: Site) -> None:
    """The last host is on the old build here, which has --no-mmap and no --mlock; the others have neither."""
    use(site, mlock=None)
    *newer, last = site.names
    for name in newer:
        assert "--load-mode none --load-mode mlock" in told(site, name)
    assert "--no-mmap --load-mode mlock" in told(site, last)
