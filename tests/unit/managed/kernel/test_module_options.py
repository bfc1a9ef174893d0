"""Parameters of modules that modprobe.d and the initramfs's list of modules set, as kmod reads them."""

import pytest

from strixfleet.managed.kernel.module_options import INITRAMFS, MODPROBE, Option, module_options
from strixfleet.on_host.questions import Answer, Answers, Json


def options(*folders: Json, initramfs: Json = None) -> list[Option]:
    found = {one: Answer(files) for one, files in zip(MODPROBE, folders, strict=False)}
    return list(module_options(Answers(found | {INITRAMFS: Answer(initramfs)})))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("options ttm pages_limit=1", [("x:1", "ttm", "pages_limit", "1")]),
        ("\toptions\tsnd-hda-intel\tpower-save=1\n", [("x:1", "snd_hda_intel", "power_save", "1")]),
        (
            "\n\noptions amdgpu \\\n  gttsize=1 \\\n  modeset\noptions ttm a=2",
            [
                ("x:3", "amdgpu", "gttsize", "1"),
                ("x:3", "amdgpu", "modeset", ""),
                ("x:6", "ttm", "a", "2"),
            ],
        ),
        (
            'options drm debug="a b" dyndbg="+p"',
            [("x:1", "drm", "debug", "a b"), ("x:1", "drm", "dyndbg", "+p")],
        ),
        ("# options ttm a=1\nblacklist ttm\ninstall ttm a=1\noptions ttm\noptions\n\\", []),
    ],
)
def test_options_are_read_with_their_lines(text: str, found: list[tuple[str, str, str, str]]) -> None:
    assert options({"x": text}) == [Option(*one) for one in found]


def test_a_file_hides_those_of_its_name_in_later_folders_and_files_are_read_by_name() -> None:
    etc: Json = {"/etc/modprobe.d/b.conf": "options ttm a=1"}
    run: Json = {"/run/modprobe.d/b.conf": "options ttm a=2", "/run/modprobe.d/a.conf": "options ttm a=3"}
    assert [one.value for one in options(etc, run)] == ["3", "1"]


def test_the_initramfs_s_list_sets_parameters_too() -> None:
    text = "# List of modules\n\nttm pages_limit=5 # why\namdgpu\n"
    assert options({}, initramfs=text) == [Option(f"{INITRAMFS.subject}:3", "ttm", "pages_limit", "5")]


def test_what_could_not_be_read_sets_nothing() -> None:
    assert options(None, {"x": None}) == []
