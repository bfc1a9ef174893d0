"""Which entry of grub.cfg boots: numbers, titles, ids, submenus, saved ones, as GRUB resolves them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.managed.kernel.command_line import occurrences
from strixfleet.managed.platforms.boot_loaders import GRUB
from strixfleet.managed.platforms.boot_loaders.grub_menu import parse_environment, parse_menu
from strixfleet.on_host.questions import Answer, Answers, Ask, Question


# Shortened from what grub-mkconfig 2.06 and 2.12 write on Debian and Ubuntu.
MENU = """
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="DEFAULT"
fi
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
  fi
}
### BEGIN /etc/grub.d/09_custom ###
menuentry "Owner's" --id=own {
  linux /vmlinuz-own root=/dev/sda1 ro own
}
### END /etc/grub.d/09_custom ###
### BEGIN /etc/grub.d/10_linux ###
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'gnulinux-simple-ab' {
\tif [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
\tlinux\t/vmlinuz-6.18 root=UUID=ab ro  simple
\tinitrd\t/initrd.img-6.18
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-ab' {
\tmenuentry 'Debian GNU/Linux, with Linux 6.18' --class os $menuentry_id_option 'gnulinux-6.18-advanced-ab' {
\t\tlinux\t/vmlinuz-6.18 root=UUID=ab ro  advanced
\t}
\tmenuentry 'Debian GNU/Linux, with Linux 6.18 (recovery mode)' --class os $menuentry_id_option \
'gnulinux-6.18-recovery-ab' {
\t\tlinux\t/vmlinuz-6.18 root=UUID=ab ro single
\t}
\tmenuentry 'It'\\''s > old' $menuentry_id_option 'old' {
\t\tlinux\t/vmlinuz-old root=UUID=ab ro old
\t}
}
### END /etc/grub.d/10_linux ###
### BEGIN /etc/grub.d/30_uefi-firmware ###
menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
\tfwsetup
}
### END /etc/grub.d/30_uefi-firmware ###
"""
ADVANCED = "Advanced options for Debian GNU/Linux"


def booted(default: str, grubenv: str = "") -> tuple[str | None, str]:
    """Return the last word of what boots, and the variable that chose it."""
    entry, variable = parse_menu(MENU.replace("DEFAULT", default)).booted(parse_environment(grubenv))
    return ((entry.words or [entry.title])[-1] if entry else None), variable


@pytest.mark.parametrize(
    ("default", "word"),
    [
        ("0", "own"),
        ("1", "simple"),
        ("2", "advanced"),
        ("2>0", "advanced"),
        ("2>1", "single"),
        ("2>9", "advanced"),
        ("0x1", "simple"),
        ("9", "own"),
        ("", "own"),
        ("no such title", "own"),
        ("own", "own"),
        ("Debian GNU/Linux", "simple"),
        ("gnulinux-simple-ab", "simple"),
        (f"{ADVANCED}>Debian GNU/Linux, with Linux 6.18", "advanced"),
        ("gnulinux-advanced-ab>gnulinux-6.18-recovery-ab", "single"),
        (f"{ADVANCED}>2", "old"),
        ("2>It's >> old", "old"),
        ("gnulinux-6.18-advanced-ab", "own"),  # is not in the outer menu
        ("6.18", "own"),  # a number, and no entry has it
        ("uefi-firmware", "UEFI Firmware Settings"),
    ],
)
def test_the_default_is_resolved_as_grub_does(default: str, word: str) -> None:
    assert booted(default) == (word, "")


@pytest.mark.parametrize(
    ("grubenv", "found"),
    [
        ("", ("own", "saved_entry")),
        ("# GRUB Environment Block\nsaved_entry=1\n########", ("simple", "saved_entry")),
        ("saved_entry=gnulinux-advanced-ab>2\n", ("old", "saved_entry")),
        ("saved_entry=1\nnext_entry=2>1\n", ("single", "next_entry")),
        ("saved_entry=1\nnext_entry=\n", ("simple", "saved_entry")),
    ],
)
def test_a_saved_entry_is_that_of_grubenv(grubenv: str, found: tuple[str, str]) -> None:
    assert booted("${saved_entry}", grubenv) == found
    if "next" not in grubenv:
        assert booted("1", grubenv) == ("simple", "")


def test_an_old_title_is_replaced_as_10_linux_says() -> None:
    correction = "\nif [ \"x$default\" = 'old title' ]; then default='2>2'; fi;\n"
    entry, _ = parse_menu(MENU.replace("DEFAULT", "old title") + correction).booted({})
    assert entry
    assert entry.words[-1] == "old"


@pytest.mark.parametrize(
    ("default", "words"),
    [
        ("0", ["Owner's", "an entry of /etc/grub.d/09_custom", "set GRUB_DEFAULT in /etc/default/grub"]),
        ("2>1", ["(recovery mode)", "a recovery entry"]),
        ("3", ["UEFI Firmware Settings", "an entry of /etc/grub.d/30_uefi-firmware"]),
        ("${saved_entry}", ["Owner's", "(saved_entry in /boot/grub/grubenv)", "`grub-set-default 0`"]),
    ],
)
def test_an_entry_that_our_arguments_do_not_reach_is_named(default: str, words: list[str]) -> None:
    boot = GRUB.boots(answers(MENU.replace("DEFAULT", default)))
    assert boot
    assert [word for word in words if word not in boot.unreached] == []


@pytest.mark.parametrize("default", ["1", "2", "2>0"])
def test_one_that_they_reach_has_no_more_to_say(default: str) -> None:
    boot = GRUB.boots(answers(MENU.replace("DEFAULT", default)))
    assert boot
    assert boot.unreached == ""


def answers(grub_cfg: str, settings: str | None = None) -> Answers:
    return Answers(
        {GRUB.boot_questions[0]: Answer(grub_cfg), Question(Ask.RUN, "grub_settings"): Answer(settings)}
    )


@pytest.mark.parametrize(
    ("settings", "outdated"),
    [
        ("always=\nnormally=", ["simple", "advanced", "old"]),
        ("always=\nnormally=simple", ["simple", "advanced", "old"]),
        ("always=", []),  # unreadable: another row says so
        (None, []),
    ],
)
def test_what_every_entry_says_is_held_against_the_configuration(
    settings: str | None, outdated: list[str]
) -> None:
    assert sorted(GRUB.outdated(answers(MENU, settings))) == sorted(outdated)


def test_what_10_linux_adds_is_not_outdated() -> None:
    line = (
        'linux /vmlinuz root=UUID=ab ro rootflags=subvol=@ console=ttyS0 "a=b c" quiet $vt_handoff panic=-1'
    )
    menu = f"menuentry 'x' {{\n{line}\n}}\n"
    assert GRUB.outdated(answers(menu, 'always=console=ttyS0\nnormally="a=b c"  quiet')) == []
    assert GRUB.outdated(answers(menu, "always=console=tty1\nnormally=quiet")) == ["console", "a"]


@given(
    st.text(alphabet="menuetryslibx '\"{}\\\n>$#=", max_size=200), st.text(alphabet="0129ax>' ", max_size=12)
)
def test_no_menu_and_no_choice_is_too_odd_to_be_read(text: str, choice: str) -> None:
    menu = parse_menu(text)
    menu.booted({"next_entry": choice})
    assert list(menu.walk()) == [*menu.walk()]


# What Debian 13's grub-mkconfig wrote with our drop-in behind a guide's /etc/default/grub and a drop-in of a
# cloud image; grub-probe was a stand-in.
RECORDED = Path(__file__).parents[3] / "fixtures" / "debian_13_grub.cfg"
ALWAYS = 'always=dyndbg="file a.c +p" '
NORMALLY = (
    "normally=quiet splash iommu=pt console=tty1 console=ttyS0 ttm.pages_limit=31457280 "
    "memmap=2G\\$4G acpi_osi=!Windows"
)


def test_a_grub_cfg_of_grub_mkconfig_says_what_the_configuration_says() -> None:
    real = RECORDED.read_text()
    assert GRUB.outdated(answers(real, f"{ALWAYS}\n{NORMALLY}\n")) == []
    assert GRUB.outdated(answers(real, f"{ALWAYS}\n{NORMALLY} nosmt\n")) == ["nosmt"]
    assert GRUB.outdated(answers(real, f"{ALWAYS} nosmt\n{NORMALLY}\n")) == ["nosmt"]
    assert GRUB.outdated(answers(real, f"always=\n{NORMALLY}\n")) == ["dyndbg"]
    own = real.replace("ro single ", "ro single nosmt ")
    assert GRUB.outdated(answers(own, f"{ALWAYS}\n{NORMALLY}\n")) == ["nosmt"]
    assert GRUB.outdated(answers(own, f"{ALWAYS}\n{NORMALLY}\nrecovery=single nosmt\n")) == []


@pytest.mark.parametrize(
    ("default", "reached"),
    [
        ("0", True),
        ("1>2", True),
        ("1>1", False),
        ("gnulinux-advanced-5a6d-ab>gnulinux-6.12.48+deb13-amd64-advanced-5a6d-ab", True),
        ("gnulinux-advanced-5a6d-ab>gnulinux-6.12.48+deb13-amd64-recovery-5a6d-ab", False),
    ],
)
def test_the_entries_of_grub_mkconfig_are_found(default: str, reached: bool) -> None:
    boot = GRUB.boots(answers(RECORDED.read_text().replace('set default="0"', f'set default="{default}"')))
    assert boot
    assert (boot.unreached == "") is reached
    assert occurrences(boot.line, "memmap") == ("2G$4G" if reached else None)
    assert occurrences(boot.line, "dyndbg") == "file a.c +p"
