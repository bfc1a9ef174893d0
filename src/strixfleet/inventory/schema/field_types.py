"""
Types of inventory values; each refuses a wrong value with what to write instead.

A value that passes is safe in any file or command later: no line breaks, no leading dash, no path that
leaves its folder.
"""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError


NAME_MAX_CHARS = 64
TEXT_MAX_CHARS = 4096
PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\Z")
PIN = re.compile(r"(b[0-9]{1,7}|v[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}|[0-9a-f]{40})\Z")
TAG = re.compile(r"tag:[A-Za-z][A-Za-z0-9-]*\Z")
HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
VERSION = re.compile(r"[0-9][0-9A-Za-z.+~:-]{0,63}\Z")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
USER_INFO = re.compile(r"//[^/@]*@")  # may be a password
BOOLEANS = {True: "on, yes or true", False: "off, no or false"}


def refusal(kind: str, message: str, hint: str) -> PydanticCustomError:
    """Make an error that carries its remedy; braces are escaped because pydantic formats the text."""
    return PydanticCustomError("strixfleet", "{text}", {"kind": kind, "text": message, "hint": hint})


def quoted(value: object) -> str:
    """Show a value in a message: one line, printable, at most 60 characters."""
    text = ascii(USER_INFO.sub("//…@", str(value)))
    return text if len(text) <= 60 else f"{text[:56]}...'"  # noqa: PLR2004


def _no_bool(value: object) -> object:
    """Refuse a boolean where a number is expected: Python would read it as 0 or 1."""
    if isinstance(value, bool):
        raise refusal("boolean", f"expected a number, got the boolean {str(value).lower()}", "write a number")
    return value


def _text(value: object) -> object:
    """Refuse what YAML turned into something else than text."""
    if isinstance(value, bool):
        raise refusal(
            "boolean",
            f"expected text, got a YAML boolean (an unquoted {BOOLEANS[value]})",
            f'put it in quotes, such as "{"on" if value else "off"}"',
        )
    if isinstance(value, int | float):
        raise refusal("number", f"expected text, got the number {value}", f'put it in quotes: "{value}"')
    return value


def _no_number(value: object) -> object:
    """Refuse a build number without its `b`."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise refusal(
            "pin",
            f"expected a tag or commit, got the number {value}",
            f"write b{value} for the release of that number",
        )
    return value


def has_control(text: str) -> bool:
    """Tell whether a text has control characters, line separators or unpaired surrogates."""
    return CONTROL.search(text) is not None


def _one_line(text: str) -> str:
    """Refuse control characters, so that a value stays one word of one line in any file."""
    if has_control(text):
        raise refusal(
            "control", "has a line break or a control character", "write it on one line, without tabs"
        )
    if len(text) > TEXT_MAX_CHARS:
        raise refusal("long", f"has {len(text)} characters", f"write at most {TEXT_MAX_CHARS}")
    return text


def plain_name(text: str) -> str:
    """Accept what is safe as a file name and as the instance of a systemd unit."""
    if len(text) > NAME_MAX_CHARS:
        raise refusal("name", f"has {len(text)} characters", f"use at most {NAME_MAX_CHARS}")
    if not PLAIN_NAME.match(text) or ".." in text:
        raise refusal(
            "name",
            f"{quoted(text)} is not a valid file or unit name",
            "use a-z, 0-9, '.', '_' and '-', beginning with a letter or digit, such as qwen3-8b",
        )
    return text


def file_name(text: str) -> str:
    """Accept one component of a path."""
    if len(text) > 255 or not FILE_NAME.match(text) or ".." in text:  # noqa: PLR2004
        raise refusal(
            "name", f"{quoted(text)} is not a valid file name", "give `name`: letters, digits, '.', '_', '-'"
        )
    return text


def pin(text: str) -> str:
    """Accept a tag or a full commit; anything else can move or be forged."""
    if PIN.match(text):
        return text
    if re.fullmatch(r"[0-9a-fA-F]{4,39}", text):
        raise refusal(
            "pin", f"{quoted(text)} is a short commit hash", "write all 40 lower-case digits of the commit"
        )
    raise refusal(
        "pin",
        f"{quoted(text)} is not a release tag or a full commit",
        "write a tag such as b10991 or v0.1.1, or all 40 digits of a commit; a branch can move",
    )


def sha256(text: str) -> str:
    """Accept the 64 hexadecimal digits of a SHA-256, in lower case."""
    digest = text.lower()
    if len(digest) != 64:  # noqa: PLR2004
        raise refusal(
            "sha256",
            f"has {len(digest)} characters, a SHA-256 has 64",
            "copy the first word of `sha256sum FILE`",
        )
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise refusal("sha256", "is not hexadecimal", "copy the first word of `sha256sum FILE`")
    return digest


def batch(value: object) -> object:
    """Accept a count of hosts or a percentage."""
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[1-9][0-9]{0,3}|([1-9][0-9]?|100)%", text):
        raise refusal(
            "batch",
            f"{quoted(value)} is not a valid batch size",
            'write a number of hosts such as 2, or "25%"',
        )
    return text if text.endswith("%") else int(text)


def gtt_gib(value: object) -> object:
    """Accept GiB of GPU-addressable memory, or `auto`."""
    if isinstance(value, bool) or not re.fullmatch(r"auto|[1-9][0-9]{0,3}", str(value)):
        raise refusal(
            "gtt", f"{quoted(value)} is not a memory size in GiB", "write whole GiB such as 96, or auto"
        )
    return "auto" if value == "auto" else int(str(value))


def device_tag(text: str) -> str:
    """Accept a Tailscale ACL tag."""
    if not TAG.match(text):
        raise refusal(
            "tag", f"{quoted(text)} is not an ACL tag", "write tag:NAME with letters, digits and '-'"
        )
    return text


def device_name(text: str) -> str:
    """Accept devices of llama.cpp: a backend with a number, several with commas between them."""
    if not re.fullmatch(r"(Vulkan|ROCm)[0-9]{1,2}(,(Vulkan|ROCm)[0-9]{1,2})*", text):
        raise refusal(
            "device",
            f"{quoted(text)} is not a device of llama.cpp",
            "write what `llama-server --list-devices` shows, such as Vulkan1",
        )
    return text


def host_label(text: str) -> str:
    """Accept one DNS label."""
    if not HOST_LABEL.match(text):
        raise refusal(
            "hostname",
            f"{quoted(text)} is not a valid host name",
            "use a-z, 0-9 and '-', at most 63 characters",
        )
    return text


def version(text: str) -> str:
    """Accept a version as dpkg and the kernel write them."""
    if not VERSION.match(text):
        raise refusal(
            "version",
            f"{quoted(text)} is not a valid version",
            'write the version of the package, such as "6.18.4"',
        )
    return text


def fingerprint(text: str) -> str:
    """Accept a whole OpenPGP fingerprint, with or without blanks; a short key id can be forged."""
    digits = text.replace(" ", "").upper()
    if not re.fullmatch(r"[0-9A-F]{40}", digits):
        raise refusal(
            "fingerprint",
            f"{quoted(text)} is not a valid fingerprint",
            "write all 40 digits that `gpg --show-keys FILE` prints",
        )
    return digits


def as_map(value: object) -> object:
    """Refuse what is not a map."""
    if value is None or isinstance(value, Mapping):
        return {} if value is None else value
    raise refusal("map", "is not a map", "write one `name: value` line for each below it")


def as_list(value: object) -> object:
    """Refuse what is not a list."""
    if value is None or isinstance(value, list | tuple):
        return () if value is None else tuple(value)
    raise refusal("list", "is not a list", "write one `- …` entry for each below it")


Text = Annotated[str, BeforeValidator(_text), AfterValidator(_one_line)]
Integer = Annotated[int, BeforeValidator(_no_bool)]
Number = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
PlainName = Annotated[Text, AfterValidator(plain_name)]
FileName = Annotated[Text, AfterValidator(file_name)]
Pin = Annotated[Text, AfterValidator(pin), BeforeValidator(_no_number)]
Sha256 = Annotated[Text, AfterValidator(sha256)]
Batch = Annotated[int | str, BeforeValidator(batch)]
DeviceName = Annotated[Text, AfterValidator(device_name)]
DeviceTag = Annotated[Text, AfterValidator(device_tag)]
HostLabel = Annotated[Text, AfterValidator(host_label)]
Fingerprint = Annotated[Text, AfterValidator(fingerprint)]
Version = Annotated[Text, AfterValidator(version)]


def _secret_line(value: object) -> object:
    """Check a secret as text of one line without showing it."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str):
        _one_line(text)
        if not text:
            raise refusal("secret", "is empty", "leave it out, or set the secret (from vault)")
    elif text is not None:
        raise refusal("secret", "is not text", "put it in quotes")
    return value


Secret = Annotated[SecretStr, BeforeValidator(_secret_line)]
