"""Download a model with curl, resuming where an earlier run was cut; the digest decides what is accepted."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.strixfleet.fleet.plugins.module_utils.model_store import (
    StoreError,
    remove,
    spare_bytes,
)
from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host import files


TRIES_WITHOUT_PROGRESS = 5
PAUSES_S = (1, 2, 4, 8)
REDIRECTS_MAX = 8
CONNECT_TIMEOUT_S = 30
STALL_S = 30
STALL_BYTES_PER_S = 1000
# Exit codes of curl: https://curl.se/docs/manpage.html#EXIT
PROTOCOL_REFUSED, HTTP_ERROR, DISK_FULL, CANNOT_RESUME, TOO_LARGE = 1, 22, 23, 33, 63
PASSING = frozenset({5, 6, 7, 16, 18, 28, 35, 52, 55, 56, 92, CANNOT_RESUME})
PASSING_HTTP = frozenset({408, 425, 429, 500, 502, 503, 504})
TOKEN_NEEDED = frozenset({401, 403})
ALL_THERE = 416  # the server has nothing past the end of what is on the disk


@dataclass(frozen=True)
class Transfer:
    """What curl reported of one attempt."""

    exit_code: int
    http_code: int
    content_type: str
    message: str
    received_bytes: int

    @property
    def is_done(self) -> bool:
        """Tell whether nothing more is to be expected."""
        return self.exit_code == 0 or (self.exit_code == HTTP_ERROR and self.http_code == ALL_THERE)

    @property
    def may_pass(self) -> bool:
        """Tell whether another attempt may succeed."""
        return self.exit_code in PASSING or self.http_code in PASSING_HTTP


def shown(url: str) -> str:
    """Return a URL for messages: without its query, which may hold a signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"[:300]


def size_of(part: str) -> int:
    """Return how many bytes are on the disk already."""
    return os.path.getsize(part) if os.path.exists(part) else 0


def config(options: dict[str, object]) -> str:
    """Return options in the form of curl's configuration files; True is for an option without a value."""
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})
    return "".join(
        f"{name}\n" if value is True else f'{name} = "{str(value).translate(escapes)}"\n'
        for name, value in options.items()
    )


def transfer(wanted: dict[str, Any], part: str, *, token: str, lock: int) -> Transfer:
    """
    Let curl append to the part.

    The options go through standard input, so that neither the token nor an address with a signature shows in
    `ps`. curl sends the token to the original host alone. It inherits the lock: while it outlives a killed
    run, no other run writes to the same part.
    """
    protocols = "=http,https" if wanted["http_allowed"] else "=https"
    options: dict[str, object] = {
        "url": wanted["source"],
        "globoff": True,
        "output": part,
        "continue-at": "-",
        "location": True,
        "max-redirs": REDIRECTS_MAX,
        "proto": protocols,
        "proto-redir": protocols,
        "max-filesize": max(1, spare_bytes(os.path.dirname(part))),
        "connect-timeout": CONNECT_TIMEOUT_S,
        "speed-time": STALL_S,
        "speed-limit": STALL_BYTES_PER_S,
        "fail": True,
        "silent": True,
        "write-out": "%{json}",
    }
    if token:
        options["oauth2-bearer"] = token
    try:
        done = subprocess.run(
            ["curl", "--disable", "--config", "-"],
            input=config(options),
            capture_output=True,
            text=True,
            check=False,
            pass_fds=(lock,),
        )
        report = json.loads(done.stdout)
    except FileNotFoundError:
        raise StoreError("curl is not installed on this host; hint: apt install curl") from None
    except ValueError:
        raise StoreError(f"curl failed: {done.stderr.strip() or f'exit code {done.returncode}'}") from None
    return Transfer(
        done.returncode,
        report["http_code"],
        report["content_type"] or "",
        report["errormsg"] or "",
        report["size_download"],
    )


def complete(wanted: dict[str, Any], part: str, lock: int) -> Transfer:
    """Transfer until all is there, with patience as long as it makes progress; return the last transfer."""
    token, furthest_bytes, failures = "", size_of(part), 0
    while True:
        last = transfer(wanted, part, token=token, lock=lock)
        if last.is_done:
            return last
        if last.http_code in TOKEN_NEEDED and not token and _is_https(wanted["source"]) and wanted["token"]:
            token = wanted["token"]
            continue
        if last.exit_code == DISK_FULL:
            remove(part)
        if not last.may_pass:
            raise StoreError(_reason(wanted, part, last))
        failures = 1 if size_of(part) > furthest_bytes else failures + 1
        furthest_bytes = max(furthest_bytes, size_of(part))
        if failures == TRIES_WITHOUT_PROGRESS:
            raise StoreError(
                f"{_reason(wanted, part, last)}; gave up after {failures} tries without progress"
            )
        if last.exit_code == CANNOT_RESUME:
            remove(part)
        time.sleep(PAUSES_S[min(failures, len(PAUSES_S)) - 1])


def _is_https(url: str) -> bool:
    return urlsplit(url).scheme == "https"


def _reason(wanted: dict[str, Any], part: str, last: Transfer) -> str:
    """Say why a transfer failed and what to do."""
    where = shown(wanted["source"])
    if last.exit_code in {DISK_FULL, TOO_LARGE}:
        spare = max(0, spare_bytes(os.path.dirname(part)))
        return f"{where}: does not fit, the disk can spare {spare} bytes; hint: free some space"
    hint = ""
    if last.http_code in TOKEN_NEEDED:
        hint = "; hint: llama_models_token"
    elif last.exit_code == PROTOCOL_REFUSED:
        hint = "; hint: give an https address that stays on https, or see llama_models_allow_http"
    return f"{where}: {last.message or f'curl ended with code {last.exit_code}'}{hint}"


def download(wanted: dict[str, Any], part: str, lock: int) -> None:
    """
    Bring the part to completion and check its digest.

    An unfinished part stays, for the next run to resume. A wrong one is removed, and fetched again where it
    came in pieces, which may be of different files.
    """
    last = complete(wanted, part, lock)
    in_pieces = last.received_bytes < size_of(part)
    found = files.sha256(part)
    if found != wanted["sha256"] and in_pieces:
        remove(part)
        last = complete(wanted, part, lock)
        found = files.sha256(part)
    if found != wanted["sha256"]:
        remove(part)
        page = ", but a web page" if "html" in last.content_type else ""
        raise StoreError(
            f"{shown(wanted['source'])}: is not the file that the inventory names{page}: its sha256 is"
            f" {found}, wanted is {wanted['sha256']}; hint: correct url or sha256"
        )
