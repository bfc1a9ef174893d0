"""Holding against upgrades, and letting go again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


RunModule = Callable[..., dict[str, Any]]
APT_MARK = """#!/bin/sh
folder=$(dirname "$0")
case $1 in
showhold) cat "$folder/held" ;;
hold) shift 2; printf '%s\\n' "$@" >>"$folder/held" ;;
unhold) grep -vxF "$3" "$folder/held" >"$folder/new"; mv "$folder/new" "$folder/held" ;;
esac
"""


@pytest.fixture
def held(programs: Path) -> Path:
    """Return the file with what is held: an operator's own hold, and one of ours."""
    (programs / "apt-mark").write_text(APT_MARK)
    (programs / "apt-mark").chmod(0o755)
    (programs / "held").write_text("postgresql\nlibvulkan1\n")
    return programs / "held"


def test_only_what_is_missing_is_held_and_other_holds_stay(run_module: RunModule, held: Path) -> None:
    answer = run_module("apt_hold", held=["libvulkan1", "mesa-vulkan-drivers"])

    assert answer["changed"] is True
    assert held.read_text().split() == ["postgresql", "libvulkan1", "mesa-vulkan-drivers"]
    assert run_module("apt_hold", held=["libvulkan1", "mesa-vulkan-drivers"])["changed"] is False


def test_only_what_is_named_is_released(run_module: RunModule, held: Path) -> None:
    answer = run_module("apt_hold", released=["libvulkan1"])

    assert answer["changed"] is True
    assert held.read_text().split() == ["postgresql"]
    assert run_module("apt_hold", released=["libvulkan1"])["changed"] is False


def test_check_mode_foretells(run_module: RunModule, held: Path) -> None:
    answer = run_module("apt_hold", check=True, held=["firmware-amd-graphics"], released=["libvulkan1"])

    assert answer["changed"] is True
    assert answer["held"] == ["firmware-amd-graphics", "postgresql"]
    assert held.read_text().split() == ["postgresql", "libvulkan1"]
