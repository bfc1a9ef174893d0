"""Paths on the controller: relative ones start at the inventory's folder, and files should exist."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from strixfleet.inventory.schema.field_types import has_control, quoted
from strixfleet.inventory.schema.problems import Problem
from strixfleet.inventory.schema.settings import HostSettings


ABSENT = "check the path; relative ones start at the inventory's folder"


def folder_of(sources: Sequence[str]) -> Path:
    """Return the folder at which relative paths start: the first inventory's."""
    for source in sources:
        path = Path(source)
        if path.exists():
            return (path if path.is_dir() else path.parent).resolve()
    return Path.cwd()


def anchored(values: Mapping[str, object], folder: Path) -> dict[str, object]:
    """Make the controller's paths in raw values absolute."""
    result = dict(values)
    result["llama_models"] = _each(values.get("llama_models"), lambda model: _model(model, folder))
    for name in ("llama_cpp_repository", "tailscale_repository_key"):
        value = values.get(name)
        if isinstance(value, str) and (name.endswith("_key") or value.startswith(("./", "../", "~/"))):
            result[name] = _absolute(value, folder)
    return {name: value for name, value in result.items() if name in values}


def _each(entries: object, change: Callable[[Mapping[str, object]], object]) -> object:
    if not isinstance(entries, list):
        return entries
    return [change(entry) if isinstance(entry, Mapping) else entry for entry in entries]


def _model(model: Mapping[str, object], folder: Path) -> dict[str, object]:
    result = dict(model)
    if "path" in model:
        result["path"] = _absolute(model["path"], folder)
    if "files" in model:
        result["files"] = _each(model["files"], lambda part: _model(part, folder))
    return result


def _absolute(value: object, folder: Path) -> object:
    if not isinstance(value, str) or not value or has_control(value) or value.startswith("-"):
        return value  # the type reports it
    try:
        return str(folder / Path(value).expanduser())
    except RuntimeError:  # a user that does not exist
        return value


def missing_files(settings: HostSettings) -> Iterator[Problem]:
    """Warn of files that are not on this controller."""
    for index, model in enumerate(settings.llama_models):
        parts = [(("llama_models", index), model)] if model.files is None else []
        more = [
            (("llama_models", index, "files", number), part) for number, part in enumerate(model.files or ())
        ]
        for path, part in (*parts, *more):
            if part.path and not Path(part.path).is_file():
                message = f"{quoted(part.path)} does not exist on this controller"
                yield Problem((*path, "path"), message, ABSENT, warning=True)
