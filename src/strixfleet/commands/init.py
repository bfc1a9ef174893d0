"""`strixfleet init`: write a commented starter inventory."""

import shutil
from pathlib import Path

import click

from strixfleet import assets
from strixfleet.errors import ExitCode, UsageError
from strixfleet.fleet.progress import say


@click.command()
@click.argument("folder", metavar="[DIR]", default="inventory", type=click.Path(path_type=Path))
def init(folder: Path) -> ExitCode:
    """
    Write a commented starter inventory into DIR (default: inventory).

    It documents every variable. Existing files are never overwritten: exit code 2.
    """
    source = assets.path("inventory")
    files = sorted(path for path in source.rglob("*") if path.is_file() and not _hidden(path, source))
    targets = [folder / path.relative_to(source) for path in files]
    for target in targets:
        if target.exists() or target.is_symlink():
            raise UsageError(
                "exists already", where=str(target), hint="give another DIR, or move the file away"
            )
    try:
        for path, target in zip(files, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    except OSError as error:
        hint = "give a DIR that you can write to"
        raise UsageError(f"cannot be written ({error.strerror})", where=str(folder), hint=hint) from None
    for target in targets:
        click.echo(target)
    say(f"next: enter your hosts in {folder}/hosts.yml, then run `strixfleet validate -i {folder}`")
    return ExitCode.OK


def _hidden(path: Path, source: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(source).parts)
