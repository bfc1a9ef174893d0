"""Flags that verbs share, with their Ansible meaning."""

import functools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from strixfleet.errors import UsageError


if TYPE_CHECKING:
    from strixfleet.inventory.request import InventoryRequest

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Options:
    """What the shared flags say."""

    inventory: tuple[str, ...] = ()
    limit: str | None = None
    extra_vars: tuple[str, ...] = ()
    forks: int = 32
    verbose: int = 0
    ask_become_pass: bool = False
    ask_vault_pass: bool = False
    vault_password_file: tuple[str, ...] = ()
    as_json: bool = False
    output: Path | None = None

    def request(self) -> "InventoryRequest":
        """Say what is to be loaded."""
        from strixfleet.inventory.request import InventoryRequest

        return InventoryRequest(
            sources=self.inventory,
            limit=self.limit,
            extra_vars=self.extra_vars,
            ask_vault_pass=self.ask_vault_pass,
            vault_password_files=self.vault_password_file,
        )


class FiniteRange(click.FloatRange):
    """A number in a range; click's own lets `nan` through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Refuse what is not a finite number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


def check_writable(output: Path) -> None:
    """Refuse a file that could not be written, before any work is done for it."""
    target = output if output.exists() else output.parent
    if not target.exists():
        raise UsageError(f"there is no folder {str(target)!r}", where=str(output))
    if not os.access(target, os.W_OK):
        raise UsageError("cannot be written", where=str(output))


_FLAGS = (
    click.option("-i", "--inventory", multiple=True, metavar="PATH", help="Inventory; may be repeated."),
    click.option("-l", "--limit", metavar="PATTERN", help="Ansible host pattern."),
    click.option("-e", "--extra-vars", multiple=True, metavar="VARS", help="key=value, JSON or @file."),
    click.option("-f", "--forks", default=32, show_default=True, type=click.IntRange(1, 500)),
    click.option("-v", "--verbose", count=True, help="Say more; -vvv shows Ansible's own output."),
    click.option("-K", "--ask-become-pass", is_flag=True, help="Ask for sudo's password."),
    click.option("--ask-vault-pass", is_flag=True),
    click.option("--vault-password-file", multiple=True, metavar="FILE"),
    click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
    click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write results to FILE."),
)
_NAMES = Options.__dataclass_fields__.keys()


def fleet_options(command: Decorated) -> Decorated:
    """Return a verb the shared flags as its first argument `options`."""

    @functools.wraps(command)
    def wrapped(**given: Any) -> object:  # noqa: ANN401 - click hands over whatever the flags say
        shared = {name: given.pop(name) for name in list(given) if name in _NAMES}
        if shared["output"] is not None:
            check_writable(shared["output"])
        return command(Options(**shared), **given)

    for flag in reversed(_FLAGS):
        wrapped = flag(wrapped)
    return wrapped  # type: ignore[return-value] # click's decorators lose the signature


def consent_options(command: Decorated) -> Decorated:
    """Give a verb that changes hosts its flags of consent."""
    decorated = click.option("--yes", is_flag=True, help="Ask nothing.")(command)
    check = click.option("-C", "--check", is_flag=True, help="Change nothing, show what would change.")
    return check(decorated)


def change_options(command: Decorated) -> Decorated:
    """Give a verb that changes files on hosts its flags of consent, and --diff."""
    return consent_options(click.option("-D", "--diff", is_flag=True, help="Show changes of files.")(command))
