"""Our drop-in, run by a real shell: merging is idempotent, and what is foreign is kept."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from strixfleet.managed.kernel.command_line import occurrences, plain_name, words_of
from strixfleet.managed.platforms.boot_loaders import GRUB
from strixfleet.on_host.ask import GRUB_SETTINGS


Lines = tuple[str, str]  # GRUB_CMDLINE_LINUX, GRUB_CMDLINE_LINUX_DEFAULT
Wanted = Mapping[str, str | None]

PRINT = 'printf "%s\\n%s\\n" "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT"'
NAMES = ("ttm.pages_limit", "amdgpu.gttsize", "iommu", "quiet", "snd-hda-intel.power_save", "memmap")
FOREIGN = ("root", "console", "ttm.pages_limits", "amdgpu.gttsize2", "x.iommu", "dyndbg", "*", "/etc/*")


def merged(wanted: Wanted, before: Lines, *, times: int = 1) -> Lines:
    """Return both variables after the shell read our drop-in so many times."""
    always, normally = before
    environment = {
        "GRUB_CMDLINE_LINUX": always,
        "GRUB_CMDLINE_LINUX_DEFAULT": normally,
        "PATH": "/bin:/usr/bin",
    }
    script = "set -e\n" + GRUB.source(wanted).text * times + f"\n{PRINT}"
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    first, second = done.stdout.split("\n")[:2]
    return first, second


def spelt(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Return words of these names, in either spelling, bare or with a value, quoted or not."""
    values = st.sampled_from(["", "=1", "=a,b", '="1"', '="two words"', "='a  b'", "=2G\\$4G", "=a=b"])
    plain = st.tuples(st.sampled_from(names), st.sampled_from(["_", "-", None]), values).map(
        lambda one: (one[0] if one[1] is None else one[0].replace("_", one[1]).replace("-", one[1])) + one[2]
    )
    whole = plain.filter(lambda word: not {'"', "'"} & set(word)).map(lambda word: f'"{word}"')
    return plain | whole


words = st.lists(spelt(NAMES) | spelt(FOREIGN), max_size=6).map(" ".join)
wanted_maps = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from([None, "", "1", "off", "2G$4G", "ACPI!x;y"]), max_size=4
)


def foreign(wanted: Wanted, line: str) -> list[str]:
    own = set(map(plain_name, wanted))
    return [word for word in words_of(line) if plain_name(word) not in own]


@settings(max_examples=60, deadline=None)
@given(wanted_maps, words, words)
@example({"ttm.pages_limit": "1"}, 'a "ttm.pages-limit=2 3" b', "")
@example({"iommu": None}, "", "iommu iommu=pt 'iommu'=on iommu.x=1")
@example({}, "", 'dyndbg="file a.c +p" quiet')
def test_what_is_foreign_is_kept_in_order_and_ours_stands_once_at_the_end(
    wanted: Wanted, always: str, normally: str
) -> None:
    recovery, normal = merged(wanted, (always, normally))
    assert words_of(recovery) == foreign(wanted, always)
    own = [name if value == "" else f"{name}={value}" for name, value in wanted.items() if value is not None]
    assert words_of(normal) == [*foreign(wanted, normally), *own]
    for name, value in wanted.items():
        assert occurrences(f"{recovery} {normal}", name) == value


@settings(max_examples=30, deadline=None)
@given(wanted_maps, words, words)
def test_merging_again_changes_nothing(wanted: Wanted, always: str, normally: str) -> None:
    once = merged(wanted, (always, normally))
    assert merged(wanted, once) == once == merged(wanted, (always, normally), times=2)


def test_the_words_of_an_owner_who_followed_a_guide_are_replaced() -> None:
    guide = "quiet splash iommu=pt amdgpu.gttsize=126976 ttm.pages_limit=32505856"
    wanted = {"ttm.pages_limit": "31457280", "amdgpu.gttsize": None}
    assert merged(wanted, ("", guide)) == ("", "quiet splash iommu=pt ttm.pages_limit=31457280")


def test_our_former_drop_in_s_words_leave_the_recovery_entries() -> None:
    moved = merged({"ttm.pages_limit": "1"}, ("console=ttyS0 ttm.pages_limit=1", "quiet"))
    assert moved == ("console=ttyS0 ", "quiet ttm.pages_limit=1")


@pytest.mark.parametrize("folder", [True, False])
def test_the_settings_are_what_the_shell_makes_of_all_files(tmp_path: Path, folder: bool) -> None:
    main = tmp_path / "grub"
    main.write_text('GRUB_CMDLINE_LINUX_DEFAULT="quiet\n  splash"\nGRUB_CMDLINE_LINUX="a=\\"b c\\""\n')
    if folder:
        (tmp_path / "grub.d").mkdir()
        (tmp_path / "grub.d" / "50.cfg").write_text('GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX d"; echo said\n')
        (tmp_path / "grub.d" / "90.cfg.bak").write_text("exit 1\n")
    script = GRUB_SETTINGS.replace("/etc/default/grub", str(main))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    always = 'a="b c" d' if folder else 'a="b c"'
    assert done.stdout == f"always={always}\nnormally=quiet   splash\nrecovery=\n"
