"""What the running kernel was booted with and the boot configuration no longer has."""

from strixfleet.managed.platforms.boot_loaders import GRUB
from strixfleet.on_host.questions import Answer, Answers, Ask, Question


# The layout of Ubuntu's 10_linux under GRUB_FORCE_PARTUUID: with an initrd, and without.
FORCED = """
menuentry 'Ubuntu' --class ubuntu {
    if [ "${initrdfail}" = 1 ]; then
        linux /boot/vmlinuz-6.17.0-1-generic root=PARTUUID=ab ro console=ttyS0
        initrd /boot/initrd.img-6.17.0-1-generic
    else
        linux /boot/vmlinuz-6.17.0-1-generic root=PARTUUID=ab ro console=ttyS0 panic=-1
    fi
}
submenu 'Advanced options' {
    menuentry 'recovery' {
        linux /boot/vmlinuz-6.17.0-1-generic root=PARTUUID=ab ro recovery nomodeset
    }
}
"""
BOOTED = "BOOT_IMAGE=/boot/vmlinuz-6.17.0-1-generic root=PARTUUID=ab ro console=ttyS0"


def left_running(grub_cfg: str | None, running: str) -> list[str]:
    return GRUB.left_running(Answers({Question(Ask.READ, GRUB.generated): Answer(grub_cfg)}), running)


def test_all_command_lines_of_the_first_entry_count() -> None:
    assert left_running(FORCED, BOOTED) == []
    assert left_running(FORCED, f"{BOOTED} panic=-1") == []


def test_those_of_other_entries_do_not() -> None:
    assert left_running(FORCED, f"{BOOTED} nomodeset iommu=pt") == ["nomodeset", "iommu=pt"]


def test_without_an_entry_nothing_is_judged() -> None:
    assert left_running(None, BOOTED) == left_running("set default=0", BOOTED) == []


def test_an_argument_with_blanks_is_one_word_however_it_is_quoted() -> None:
    quoted = FORCED.replace("console=ttyS0", 'dyndbg="file a.c +p"')
    booted = BOOTED.replace("console=ttyS0", '"dyndbg=file a.c +p"')
    assert left_running(quoted, booted) == []
    assert left_running(FORCED, booted) == ["dyndbg=file a.c +p"]
