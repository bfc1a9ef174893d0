"""Real hosts: made, reached with strict host keys, rebooted, reset, layered, and removed without a trace."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strixfleet.errors import UsageError
from strixfleet.inventory.hardware import GIB
from strixfleet.sandbox import lifecycle as sandboxes
from strixfleet.sandbox import machine, sandbox_state
from strixfleet.sandbox.boxes import HARDWARE_ROOT, Sandbox, SandboxHost, SandboxRequest


pytestmark = pytest.mark.host

NAME = "test-sandbox"
OTHER = "doomed"
GTT = f"{HARDWARE_ROOT}/sys/class/drm/card1/device/mem_info_gtt_total"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


def ssh(sandbox: Sandbox, host: str, command: str) -> subprocess.CompletedProcess[str]:
    argv = [
        "ssh",
        "-F",
        str(sandbox.ssh_config),
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=5",
        host,
        command,
    ]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)


def output(sandbox: Sandbox, host: str, command: str) -> str:
    done = ssh(sandbox, host, command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def reboot(sandbox: Sandbox, host: SandboxHost) -> str:
    """Reboot from inside, wait for another boot id and give it."""
    before = output(sandbox, host.name, BOOT_ID)
    ssh(sandbox, host.name, "sudo systemctl reboot")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        machine.wait_for_ssh(host)
        now = ssh(sandbox, host.name, BOOT_ID).stdout.strip()
        if now and now != before:
            return now
    raise AssertionError(f"{host.name} did not come back from its reboot")


def traces() -> set[str]:
    """List what this machine holds outside the caches that sandboxes could leave."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    links = [f"link {path.name}" for path in Path("/sys/class/net").iterdir()]
    state = [str(path) for path in sandbox_state.state_dir().rglob("*")]
    runtime = [str(path) for path in Path("/run/systemd/nspawn").rglob("*")]
    cgroups = [path for path, *_ in os.walk("/sys/fs/cgroup") if Path(path).name.startswith("strixfleet-")]
    archives = [str(path) for path in (sandbox_state.cache_dir() / "archives").glob("*")]
    found = {"mount " + line.split(" ", 4)[4] for line in mounts}
    found |= {*links, *nft_tables()}
    return found | {*state, *runtime, *cgroups, *archives, *processes()}


def argv_of(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_text().replace("\0", " ")
    except OSError:  # guests' short-lived processes end meanwhile
        return ""


def processes() -> Iterator[str]:
    for pid in (entry for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        try:
            argv = (pid / "cmdline").read_text().replace("\0", " ")
            mounts = (pid / "mountinfo").read_text()
        except OSError:
            continue
        if "strixfleet.sandbox.supervisor" in argv or "systemd-nspawn" in argv or "upperdir=" in mounts:
            overlays = [line for line in mounts.splitlines() if "upperdir=" in line]
            yield f"process {pid.name} {argv} {overlays}"


def nft_tables() -> list[str]:
    ruleset = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return [f"nft table {' '.join(table.split())}" for table in f"\n{ruleset}".split("\ntable ")[1:]]


def marks_of_others() -> set[str]:
    """Name what sandboxes of somebody else are known by here: digests in labels, bridges and their ports."""
    own = Sandbox(NAME, sandbox_state.state_dir() / NAME, "", "", "", ()).label.rpartition("-")[2]
    found = re.findall(r'table ip strixfleet_\w+_(\w+) .*?oifname != "(\S+?)"', "\n".join(nft_tables()))
    digests = {digest for digest, _bridge in found} - {own}
    bridges = {bridge for digest, bridge in found if digest in digests}
    links = [path.parent for path in Path("/sys/class/net").glob("*/master")]
    ports = {link.name for link in links if (link / "master").resolve().name in bridges}
    return digests | bridges | ports


def is_foreign(entry: str, marks: set[str]) -> bool:
    if entry.startswith("process ") and "/strixfleet/sandboxes/" in entry:
        return f"{sandbox_state.state_dir()}/" not in entry
    return any(re.search(rf"(?<![a-z0-9]){re.escape(mark)}(?![\w-])", entry) for mark in marks)


def left_behind(before: set[str]) -> list[str]:
    """Return what is new, but for sandboxes of somebody else at work on this machine."""
    marks = marks_of_others()
    new = traces() - before
    marks |= marks_of_others()
    return sorted(entry for entry in new if not is_foreign(entry, marks))


@pytest.fixture(scope="module")
def made() -> Iterator[Sandbox]:
    sandboxes.destroy(NAME)
    yield sandboxes.create(SandboxRequest(name=NAME, hosts=2))
    sandboxes.destroy(NAME)


@pytest.fixture
def other() -> Iterator[str]:
    """Name a second sandbox that is gone after the test, whatever became of it."""
    sandboxes.destroy(OTHER)
    yield OTHER
    sandboxes.destroy(OTHER)


def test_hosts_are_reached_with_strict_host_key_checking_and_become_root(made: Sandbox) -> None:
    for host in made.hosts:
        assert output(made, host.name, "hostname && id -un && sudo -n id -u") == f"{host.name}\nstrix\n0"


def test_a_changed_host_key_is_refused(made: Sandbox) -> None:
    own, other = made.known_hosts.read_text(), made.hosts[1].address
    try:
        lines = [line for line in own.splitlines() if line.startswith(other)]
        swapped = "\n".join(line.replace(other, made.hosts[0].address) for line in lines)
        made.known_hosts.write_text(swapped + "\n")
        refused = ssh(made, made.hosts[0].name, "true")
    finally:
        made.known_hosts.write_text(own)
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr


def test_root_may_not_log_in(made: Sandbox) -> None:
    argv = ["ssh", "-F", str(made.ssh_config), "-o", "BatchMode=yes", f"root@{made.hosts[0].address}", "true"]
    # The address is no alias of the config's, so the key has to be named.
    argv[1:1] = ["-i", str(made.ssh_key)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


def test_hosts_reach_the_distribution_and_each_other(made: Sandbox) -> None:
    first, second = made.hosts
    output(made, first.name, "sudo apt-get -q update")
    suites = output(made, first.name, "apt-cache policy")
    assert "trixie/main" in suites
    assert output(made, first.name, f"timeout 5 bash -c 'head -c4 </dev/tcp/{second.name}/22'") == "SSH-"


def test_private_key_is_private_and_the_inventory_is_ansibles(made: Sandbox) -> None:
    assert made.ssh_key.stat().st_mode & 0o777 == 0o600
    listed = subprocess.run(
        ["ansible-inventory", "-i", str(made.inventory), "--list"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PATH": _venv_path()},
    )
    document = json.loads(listed.stdout)
    assert document["strix"]["hosts"] == [host.name for host in made.hosts]
    variables = document["_meta"]["hostvars"][made.hosts[0].name]
    assert variables["ansible_host"] == made.hosts[0].address
    assert variables["hardware_profile"] == "sandbox"
    assert variables["sandbox_hardware_root"] == HARDWARE_ROOT


def _venv_path() -> str:
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def test_reboot_gives_a_new_boot_id_and_the_same_address(made: Sandbox) -> None:
    host = made.hosts[0]
    other = output(made, made.hosts[1].name, BOOT_ID)
    boot_ids = {output(made, host.name, BOOT_ID), reboot(made, host), reboot(made, host)}
    assert len(boot_ids) == 3
    assert output(made, made.hosts[1].name, BOOT_ID) == other, "the neighbour was rebooted too"
    assert output(made, host.name, "systemctl is-system-running --wait") == "running"


def test_a_boot_argument_has_its_effect_after_update_grub_and_reboot_only(made: Sandbox) -> None:
    host = made.hosts[0]
    drop_in = 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX ttm.pages_limit=25165824"'
    before = output(made, host.name, f"cat {GTT}")
    output(made, host.name, f"echo '{drop_in}' | sudo tee /etc/default/grub.d/60-test.cfg")
    reboot(made, host)
    assert output(made, host.name, f"cat {GTT}") == before, "without update-grub nothing changes"
    output(made, host.name, "sudo update-grub")
    assert output(made, host.name, f"cat {GTT}") == before, "without a reboot nothing changes"
    reboot(made, host)
    assert int(output(made, host.name, f"cat {GTT}")) == 96 * GIB
    assert "ttm.pages_limit=25165824" in output(made, host.name, f"cat {HARDWARE_ROOT}/proc/cmdline")
    assert "Framework Desktop" in output(made, host.name, f"cat {HARDWARE_ROOT}/SIMULATED")


def test_tuned_profile_shows_in_the_power_state(made: Sandbox) -> None:
    governor = f"{HARDWARE_ROOT}/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    host = made.hosts[0].name
    assert output(made, host, f"cat {governor}") == "powersave"
    output(
        made,
        host,
        "sudo mkdir -p /etc/tuned && echo accelerator-performance | sudo tee /etc/tuned/active_profile",
    )
    wait = f"timeout 20 sh -c 'until grep -q performance {governor}; do sleep 0.2; done'"
    output(made, host, wait)


def test_reset_gives_back_the_bare_host_under_the_same_key(made: Sandbox) -> None:
    host = made.hosts[1]
    output(made, host.name, "sudo rm -rf /usr/share/doc && sudo touch /etc/changed")
    sandboxes.reset(made, host.name)
    assert output(made, host.name, "ls /etc/changed /usr/share/doc 2>&1 | grep -c 'No such file'") == "1"
    assert output(made, host.name, "ls -d /usr/share/doc") == "/usr/share/doc"


def test_layer_carries_what_a_host_wrote_and_removed(made: Sandbox) -> None:
    host = made.hosts[1]
    change = "sudo rm -rf /usr/share/doc && sudo mkdir /usr/share/doc && echo kept | sudo tee /etc/changed"
    output(made, host.name, change)
    sandboxes.save_layer(made, host.name, NAME)
    try:
        sandboxes.reset(made, made.hosts[0].name, layer=NAME)
        seen = output(made, made.hosts[0].name, "cat /etc/changed /etc/hostname; ls -A /usr/share/doc")
        assert seen == f"kept\n{made.hosts[0].name}"
    finally:
        sandboxes.reset(made)
        sandboxes.delete_layer(NAME)
    assert ssh(made, made.hosts[0].name, "cat /etc/changed").returncode == 1


def test_a_name_in_use_is_refused_and_the_sandbox_lives_on(made: Sandbox) -> None:
    with pytest.raises(UsageError, match="exists"):
        sandboxes.create(SandboxRequest(name=NAME))
    assert output(made, made.hosts[0].name, "true") == ""


def test_another_user_may_have_a_sandbox_of_the_same_name(
    made: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("XDG_STATE_HOME", str(tmp_path))
        theirs = sandboxes.create(SandboxRequest(name=NAME))
        assert output(theirs, theirs.hosts[0].name, "hostname") == made.hosts[0].name
        assert output(theirs, theirs.hosts[0].name, BOOT_ID) != output(made, made.hosts[0].name, BOOT_ID)
        assert sandboxes.destroy(NAME)
    assert output(made, made.hosts[0].name, "sudo apt-get -q update >&2; hostname") == made.hosts[0].name


@pytest.mark.parametrize("name", ["../sandboxes", "", "/", "a b", "A"])
def test_destroy_takes_no_path_for_a_name(name: str) -> None:
    with pytest.raises(UsageError):
        sandboxes.destroy(name)


def test_a_host_that_powers_off_ends_its_supervisor(made: Sandbox) -> None:
    host = made.hosts[1]
    ssh(made, host.name, "sudo systemctl poweroff")
    deadline = time.monotonic() + 60
    while sandboxes.is_running(host) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not sandboxes.is_running(host)
    sandboxes.reset(made, host.name)
    assert output(made, host.name, "true") == ""


def test_destroy_leaves_nothing_and_may_be_repeated(other: str) -> None:
    before = traces()
    forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    sandboxes.create(SandboxRequest(name=other, hosts=2))
    assert left_behind(before), "a running sandbox shows in the traces, or they prove nothing"
    assert sandboxes.destroy(other)
    assert left_behind(before) == []
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == forwarding
    assert not sandboxes.destroy(other)


@pytest.mark.parametrize("victim", ["strixfleet.sandbox.supervisor", "systemd-nspawn", "both"])
def test_destroy_leaves_nothing_after_a_crash(other: str, victim: str) -> None:
    before = traces()
    made = sandboxes.create(SandboxRequest(name=other, hosts=1))
    words = ["strixfleet.sandbox.supervisor", "systemd-nspawn"] if victim == "both" else [victim]
    pids = machine.processes_of(made.hosts[0].folder)
    victims = [pid for pid in pids if any(word in argv_of(pid) for word in words)]
    assert len(victims) >= len(words)
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert sandboxes.destroy(other)
    assert left_behind(before) == []


@pytest.mark.parametrize("state", ["record only", "no record", "broken record"])
def test_destroy_removes_a_half_made_sandbox(other: str, state: str) -> None:
    before = traces()
    with sandbox_state.locked():
        made = sandboxes._place(SandboxRequest(name=other, hosts=2))
    record = made.folder / "sandbox.json"
    if state != "record only":
        record.unlink() if state == "no record" else record.write_text("{")
    assert sandboxes.destroy(other)
    assert left_behind(before) == []


@pytest.mark.parametrize("moment", ["on this machine", "booting"])
def test_destroy_leaves_nothing_of_a_create_that_was_killed(other: str, moment: str) -> None:
    before = traces()
    argv = [sys.executable, "-m", "strixfleet", "sandbox", "create", "--name", other, "--hosts", "2"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as creating:
        assert creating.stderr is not None
        assert any(moment in line for line in creating.stderr)
        creating.kill()
    assert sandboxes.destroy(other)
    assert left_behind(before) == []


def test_failure_on_the_way_leaves_nothing(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = traces()

    def interrupted(_host: SandboxHost) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(machine, "wait_for_ssh", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sandboxes.create(SandboxRequest(name=other, hosts=1))
    assert left_behind(before) == []
