"""
How the answers of the measuring programs become types: once, where they arrive.

A field that is missing or null takes its default; an answer of another form is an error of the host that
gave it.
"""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from strixfleet.on_host.plain_text import plain
from strixfleet.printable import printable


T = TypeVar("T")


def _or_no_text(value: object) -> object:
    return "" if value is None else value


def _or_zero(value: object) -> object:
    return 0 if value is None else value


def _or_empty(value: object) -> object:
    return {} if value is None else value


Text = Annotated[str, BeforeValidator(_or_no_text)]
Said = Annotated[str, AfterValidator(plain)]  # lines for people, safe on a terminal
Shown = Annotated[Text, AfterValidator(printable)]  # short text for people, safe on a terminal
MOST_TPS = 1e6  # no machine that runs a language model comes near
Count = Annotated[int, BeforeValidator(_or_zero)]
Figure = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_or_zero)]
Speed = Annotated[float, Field(ge=0, le=MOST_TPS)]  # tokens per second, as a program claims it
OrDefault = BeforeValidator(_or_empty)  # null stands for a part that was not asked for


class UnreadableAnswerError(ValueError):
    """An answer does not have the form that was expected."""


def read_as(kind: type[T], answer: object) -> T:
    """Read an answer as this type; raise UnreadableAnswerError with the first field that is wrong."""
    try:
        return TypeAdapter(kind).validate_python(answer)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "answer"
        raise UnreadableAnswerError(f"{field}: {first['msg']}") from None
