"""Find and render our own files: playbooks, roles, templates and the starter inventory."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def root() -> Path:
    """Return the folder of playbooks/, roles/, templates/ …: the checkout, or `_assets` in the wheel."""
    package = Path(__file__).resolve().parent
    checkout = package.parents[1]
    if (checkout / "playbooks").is_dir() and (checkout / "pyproject.toml").is_file():
        return checkout
    return package / "_assets"


def path(*parts: str) -> Path:
    """Return the path of a file or folder in it."""
    return root().joinpath(*parts)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=FileSystemLoader(path("templates")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=select_autoescape(enabled_extensions=("html", "html.j2"), default=False),
    )


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - templates take values of any type
    """
    Render `templates/<template>`; an undefined name is an error.

    Only our own templates are rendered: inventory values, file names and answers of servers are data.
    """
    return _environment().get_template(template).render(**values)
