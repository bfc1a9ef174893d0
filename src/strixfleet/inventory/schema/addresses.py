"""Addresses and paths in the inventory: where files come from and where servers listen."""

import ipaddress
import re
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator

from strixfleet.inventory.schema.field_types import Text, quoted, refusal


TAILNET = (ipaddress.ip_network("100.64.0.0/10"), ipaddress.ip_network("fd7a:115c:a1e0::/48"))

THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})


def web_address(text: str) -> str:
    """Accept an http(s) address with a host and without a password; rules.py requires https."""
    if placeholder := re.search(r"<[^<>]*>?", text):
        message = f"still has the placeholder {quoted(placeholder[0])}"
        raise refusal("url", message, "replace it with the real value")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or " " in text or '"' in text or "\\" in text:
        raise refusal("url", f"{quoted(text)} is not an https address", "write https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise refusal(
            "url",
            "has a user name or password in it",
            "remove it; a token goes into llama_models_token (vault)",
        )
    return text


def secure_address(text: str) -> str:
    """Accept an https address, or http to this very machine."""
    web_address(text)
    parts = urlsplit(text)
    if parts.scheme != "https" and parts.hostname not in THIS_MACHINE:
        raise refusal("url", f"{quoted(text)} is not https", "write https://…")
    return text


SCP_FORM = r"(?:[\w.-]+@)?[\w.-]+:(?!//)[\w./~-]+"  # git's short form of ssh: HOST:PATH


def repository(text: str) -> str:
    """Accept a git address over https, ssh or [user@]host:path, or a path on the controller."""
    if text.startswith("-") or " " in text:
        raise refusal(
            "repository", f"{quoted(text)} is not a git address", "write https://HOST/PATH.git or /PATH"
        )
    if text.startswith(("/", "./", "../", "~/")) or re.fullmatch(SCP_FORM, text):
        return text
    parts = urlsplit(text)
    if (
        parts.scheme in {"ssh", "file"}
        and parts.password is None
        and not (parts.hostname or "").startswith("-")
    ):
        return text
    if parts.scheme == "git":
        raise refusal("repository", "git:// is not authenticated", "write https://… or ssh://…")
    return web_address(text)


def absolute_path(text: str) -> str:
    """Accept an absolute path without `..`."""
    if not text.startswith("/") or ".." in text.split("/"):
        raise refusal(
            "path", f"{quoted(text)} is not an absolute path", "write the path from / on, without `..`"
        )
    return text


def controller_path(text: str) -> str:
    """Accept a path on the controller; relative ones count from the inventory's folder."""
    if not text or text.startswith("-"):
        raise refusal("path", f"{quoted(text)} is not a path", "write the path of a file on the controller")
    return text


def base_name(address: str) -> str:
    """Return the file name of a path or URL, percent signs decoded."""
    path = urlsplit(address).path if re.match(r"https?://", address) else address
    return unquote(path).rsplit("/", 1)[-1]


def listen_address(text: str) -> str:
    """Accept an IP address, `localhost` or `tailnet`; rules.py checks who can reach it."""
    if text in {"localhost", "tailnet"}:
        return text
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise refusal(
            "host",
            f"{quoted(text)} is not an address to listen on",
            "write 127.0.0.1, tailnet or one IP address",
        ) from None
    return text


def is_private_listener(text: str) -> bool:
    """Tell whether an address answers only on the host itself or inside the tailnet."""
    if text in {"localhost", "tailnet"}:
        return True
    address = ipaddress.ip_address(text)
    return address.is_loopback or any(address in net for net in TAILNET if net.version == address.version)


WebAddress = Annotated[Text, AfterValidator(web_address)]
SecureAddress = Annotated[Text, AfterValidator(secure_address)]
Repository = Annotated[Text, AfterValidator(repository)]
AbsolutePath = Annotated[Text, AfterValidator(absolute_path)]
ControllerPath = Annotated[Text, AfterValidator(controller_path)]
ListenAddress = Annotated[Text, AfterValidator(listen_address)]
