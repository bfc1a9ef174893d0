"""Kernel arguments: both command lines, whether the parameter exists, and its effect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.findings.items import Cure, Difference, Status
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.facts import DRM
from strixfleet.managed.kernel.arguments import DEFAULTS, KNOWN, KernelArgument
from strixfleet.managed.kernel.aspect import kernel
from strixfleet.managed.kernel.gtt import GttTotal, gtt_arguments
from strixfleet.managed.kernel.module_options import INITRAMFS, MODPROBE
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.boot_loaders import GRUB
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question


LISTED: list[Json] = ["gpu_recovery", "gttsize", "lockup_timeout", "hidden"]
CARD = "/sys/class/drm/card1/device"
GIB = 1 << 30


def argument(name: str, value: str | None) -> KernelArgument:
    return KernelArgument(id=f"kernel:{name}", name=name, value=value, loader=GRUB)


def lines(configured: str, running: str) -> dict[Question, Answer]:
    return {
        Question(Ask.READ, GRUB.generated): Answer(
            f"menuentry 'x' {{\n  linux /vmlinuz ro {configured}\n}}\n"
        ),
        Question(Ask.READ, "/proc/cmdline"): Answer(f"ro {running}\n"),
        Question(Ask.READ, "/boot/grub/grubenv"): Answer(None),
    }


def judged(
    name: str,
    value: str | None,
    *,
    words: str | None = None,
    running: str | None = None,
    shown: str | None = None,
    listed: Answer | None = None,
    files: Json = None,
    loaded: bool = True,
) -> Difference:
    """Judge an argument that stands on both command lines, unless `words` or `running` say otherwise."""
    thing = argument(name, value)
    own = name if value == "" else f"{name}={value}"
    configured = own if words is None else words
    found = lines(configured, configured if running is None else running)
    found |= dict.fromkeys(GRUB.configuration_questions, Answer(None))
    if thing.module:
        found |= {one: Answer(files or {}) for one in MODPROBE[:1]}
        found |= dict.fromkeys((*MODPROBE[1:], INITRAMFS), Answer(None))
    if thing.module and (value is not None or name in DEFAULTS):
        folder = f"/sys/module/{thing.module}"
        found[Question(Ask.READ, f"{folder}/parameters/{thing.parameter}")] = Answer(shown)
        found[Question(Ask.NAMES, folder)] = Answer(["parameters"] if loaded else None)
    if thing.module and value is not None:
        found[Question(Ask.PARAMETERS, thing.module)] = listed or Answer(LISTED)
    assert set(found) == set(thing.asks())
    return thing.compare(Answers(found))


def test_one_that_took_effect_is_ok_and_shows_it() -> None:
    row = judged("amdgpu.gttsize", "126976", shown="126976\n")
    assert row.status is Status.OK
    assert row.have == row.want
    assert row.want == {
        "configured": "126976",
        "running": "126976",
        "parameter": KNOWN,
        "effect": "126976",
    }


@pytest.mark.parametrize(
    ("name", "meant"), [("gpu_recovry", "gpu_recovery"), ("ggtsize", "gttsize"), ("qqq", None)]
)
@pytest.mark.parametrize("value", ["1", "on", ""])
def test_a_parameter_that_does_not_exist_is_drift_that_the_operator_cures(
    name: str, meant: str | None, value: str
) -> None:
    row = judged(f"amdgpu.{name}", value)
    hint = f"; did you mean amdgpu.{meant}?" if meant else ""
    assert (row.status, row.cure) == (Status.DRIFT, Cure.MANUAL)
    assert row.message == f"the module amdgpu has no parameter {name}{hint}"
    assert isinstance(row.have, dict)
    assert row.have["parameter"] == "unknown to the kernel"
    assert "effect" not in row.have


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        (Answer(None), "modinfo does not know a module amdgpu"),
        (Answer(error="OSError: modinfo is not installed"), "OSError: modinfo is not installed"),
    ],
)
def test_what_nobody_can_tell_is_unknown(listed: Answer, reason: str) -> None:
    row = judged("amdgpu.gpu_recovery", "1", listed=listed)
    assert (row.status, row.have) == (Status.UNKNOWN, None)
    assert row.message == f"cannot tell whether the kernel has amdgpu.gpu_recovery: {reason}"


def test_what_sysfs_shows_exists_whatever_modinfo_says() -> None:
    assert judged("amdgpu.gpu_recovery", "1", shown="1", listed=Answer(None)).status is Status.OK


@pytest.mark.parametrize(
    "name", ["systemd.unit", "rd.luks", "udev.log_level", "quiet", "root", "plymouth.enable"]
)
def test_what_programs_read_is_judged_by_the_command_lines_alone(name: str) -> None:
    row = judged(name, "1")
    assert (row.status, row.have) == (Status.OK, {"configured": "1", "running": "1"})
    assert judged(name, "1", running="").status is Status.PENDING_REBOOT


def test_a_known_parameter_that_sysfs_hides_is_ok_and_shows_no_effect() -> None:
    row = judged("amdgpu.hidden", "1")
    assert row.status is Status.OK
    assert isinstance(row.have, dict)
    assert (row.have["parameter"], row.have["effect"]) == (KNOWN, None)


def test_the_size_of_the_gtt_must_show() -> None:
    assert judged("amdgpu.gttsize", "126976").status is Status.DRIFT


@pytest.mark.parametrize(
    ("shown", "value", "status"),
    [("Y", "1", "ok"), ("N", "0", "ok"), ("N", "1", "drift"), ("Y", "0", "drift"), ("-1", "1", "drift")],
)
def test_a_switch_is_read_as_sysfs_writes_it(shown: str, value: str, status: str) -> None:
    row = judged("amdgpu.gpu_recovery", value, shown=shown)
    assert row.status == status
    assert isinstance(row.have, dict)
    assert row.have["effect"] == shown
    assert bool(row.message) is (status == "drift")


@pytest.mark.parametrize(
    ("words", "running", "status"),
    [
        ("amdgpu.gpu_recovery=1", "", "pending_reboot"),
        ("", "amdgpu.gpu_recovery=1", "drift"),
        ("amdgpu.gpu_recovery=0", "amdgpu.gpu_recovery=0", "drift"),
        ("amdgpu.gpu-recovery=1", "amdgpu.gpu-recovery=1", "ok"),
        ("amdgpu.gpu_recovery=1 amdgpu.gpu_recovery=1", "amdgpu.gpu_recovery=1", "drift"),
    ],
)
def test_configured_and_running_are_two_things(words: str, running: str, status: str) -> None:
    shown = "1" if running == words else "-1"
    assert judged("amdgpu.gpu_recovery", "1", words=words, running=running, shown=shown).status == status


@pytest.mark.parametrize(
    ("words", "running", "status"),
    [("", "", "ok"), ("", "quiet", "pending_reboot"), ("quiet", "quiet", "drift")],
)
def test_one_that_must_be_absent(words: str, running: str, status: str) -> None:
    assert judged("quiet", None, words=words, running=running).status == status


@pytest.mark.parametrize(
    ("value", "line", "status"),
    [
        (None, "options amdgpu gttsize=8192", "drift"),
        (None, "options amdgpu gpu_recovery=1", "ok"),
        (None, "# options amdgpu gttsize=8192", "ok"),
        ("126976", "options amdgpu gttsize=8192", "drift"),
        ("126976", 'options amdgpu modeset=1 "gttsize=126976"', "ok"),
        ("126976", "options  amdgpu\tmodeset=1 gttsize=1", "drift"),
        ("126976", "install amdgpu gttsize=1", "ok"),
    ],
)
def test_what_modprobe_sets_otherwise_is_named(value: str | None, line: str, status: str) -> None:
    words = f"amdgpu.gttsize={value}" if value else ""
    files: Json = {"/etc/modprobe.d/x.conf": f"#\n{line}\n"}
    row = judged("amdgpu.gttsize", value, words=words, shown=value or "-1", files=files)
    assert row.status == status
    assert ("/etc/modprobe.d/x.conf:2: gttsize=" in row.message) is (status == "drift")
    assert status == "ok" or row.cure is Cure.MANUAL


def test_a_reboot_that_is_due_comes_before_what_modprobe_sets() -> None:
    files: Json = {"/etc/modprobe.d/x.conf": "options amdgpu gttsize=8192\n"}
    row = judged("amdgpu.gttsize", "126976", running="", shown="8192", files=files)
    assert (row.status, row.cure) == (Status.PENDING_REBOOT, Cure.REBOOT)


@pytest.mark.parametrize("value", ["126976", None])
def test_a_module_that_is_not_loaded_shows_no_effect_and_says_so(value: str | None) -> None:
    row = judged("amdgpu.gttsize", value, words=f"amdgpu.gttsize={value}" if value else "", loaded=False)
    assert row.status is Status.OK
    assert isinstance(row.have, dict)
    assert row.have["effect"] == "not applicable: the module amdgpu is not loaded"


def gtt(size_bytes: int, *, configured: bool = True, running: bool = True) -> Difference:
    word = "ttm.pages_limit=1"
    thing = GttTotal(
        id="kernel:gtt_total",
        size_bytes=100 * GIB,
        arguments={"ttm.pages_limit": "1"},
        loader=GRUB,
        card=CARD,
    )
    found = lines(word if configured else "", word if running else "")
    sizes: Json = {f"{CARD}/mem_info_gtt_total": f"{size_bytes}\n"}
    return thing.compare(Answers(found | {Question(Ask.GLOB, f"{DRM}/mem_info_gtt_total"): Answer(sizes)}))


@given(st.integers(0, 200 * GIB))
def test_the_gtt_s_size_is_shown_as_read_and_accepted_within_one_per_cent(size_bytes: int) -> None:
    row = gtt(size_bytes)
    assert (row.status is Status.OK) == (99 * GIB <= size_bytes <= 101 * GIB)
    assert isinstance(row.have, dict)
    assert row.have["bytes"] == size_bytes


@pytest.mark.parametrize(
    ("configured", "running", "status"),
    [(True, False, "pending_reboot"), (True, True, "drift"), (False, False, "drift")],
)
def test_a_gtt_of_another_size_waits_for_a_reboot_only_where_one_would_help(
    configured: bool, running: bool, status: str
) -> None:
    assert gtt(64 * GIB, configured=configured, running=running).status == status


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("6.12", {"ttm.pages_limit", "amdgpu.gttsize"}),
        ("6.16", {"ttm.pages_limit"}),
        ("7.2", {"ttm.pages_limit"}),
        ("", {"ttm.pages_limit", "amdgpu.gttsize"}),
    ],
)
def test_which_arguments_make_the_gtt_goes_by_the_kernel_s_line(line: str, names: set[str]) -> None:
    found = gtt_arguments(1, "auto", line)
    assert {name for name, value in found.items() if value is not None} == names
    assert set(found) == {"ttm.pages_limit", "amdgpu.gttsize"}


@pytest.mark.parametrize(("there", "refused"), [(True, False), (False, True)])
def test_a_host_without_update_grub_is_refused(there: bool, refused: bool) -> None:
    stat: Json = {"size_bytes": 64} if there else None
    answers = Answers({Question(Ask.STAT, GRUB.tool): Answer(stat)})
    (thing,) = (one for one in kernel(HostSettings(), Machine()) if one.id == "kernel:boot_loader")
    problems = [deed.arguments["text"] for deed in thing.deeds(answers) if deed.kind == "problem"]
    text = "this host has no /usr/sbin/update-grub: kernel arguments are written for grub only"
    assert problems == ([text] if refused else [])
    assert (thing.compare(answers).status is Status.DRIFT) is refused


def test_a_host_whose_update_grub_could_not_be_looked_for_is_not_refused() -> None:
    answers = Answers({Question(Ask.STAT, GRUB.tool): Answer(error="no")})
    (thing,) = (one for one in kernel(HostSettings(), Machine()) if one.id == "kernel:boot_loader")
    assert list(thing.deeds(answers)) == []
    assert thing.compare(answers).status is Status.UNKNOWN
