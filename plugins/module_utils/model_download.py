"""Download a model into `<name>.part`, resume it, and say when it is complete and what it should be."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
from dataclasses import dataclass
from typing import Any

from ansible_collections.strixfleet.fleet.plugins.module_utils import model_http
from ansible_collections.strixfleet.fleet.plugins.module_utils.model_folder import (
    BLOCK,
    Folder,
    digest_of,
    read_stamp,
)
from ansible_collections.strixfleet.fleet.plugins.module_utils.model_http import DownloadError, TryAgainError


FAILURES_MAX = 5
PATIENCE_S = 45
PAUSES_S = (1, 2, 4, 8)
MAGIC = b"GGUF"
OK, PARTIAL, NOT_SATISFIABLE = 200, 206, 416
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Wanted:
    """What a download has to become."""

    name: str
    url: str
    sha256: str

    @property
    def part(self) -> str:
        """Name while it is not complete."""
        return f"{self.name}.part"

    @property
    def note(self) -> str:
        """Name of what is known about the part: of which address and state of the server it is."""
        return f".{self.name}.part.json"


class Download:
    """One model's way into the store."""

    def __init__(self, folder: Folder, wanted: Wanted, client: model_http.Client) -> None:
        self.folder = folder
        self.wanted = wanted
        self.client = client
        self.transferred_bytes = 0
        self._resumed = False
        self._furthest = 0

    def run(self) -> None:
        """
        Bring the part to completion and prove its digest.

        What turned out wrong is removed; what is merely unfinished stays, for the next run to resume.
        """
        try:
            self._complete()
            if self._proved():
                return
            if self._resumed:
                self._resumed, self._furthest = False, 0
                self._complete()
                if self._proved():
                    return
        except OSError as error:
            self.discard()
            raise DownloadError(f"{self.folder.path}: {error.strerror}") from None
        raise DownloadError(
            f"{model_http.shown(self.wanted.url)} is not the file that the inventory names: its sha256 is "
            f"{self._found}, wanted {self.wanted.sha256}; hint: correct url or sha256",
        )

    def discard(self) -> None:
        """Remove what was downloaded."""
        self.folder.remove(self.wanted.part)
        self.folder.remove(self.wanted.note)

    def _proved(self) -> bool:
        descriptor = self.folder.open(self.wanted.part)
        try:
            self._found = digest_of(descriptor)
        finally:
            os.close(descriptor)
        if self._found != self.wanted.sha256:
            self.discard()
            return False
        self.folder.remove(self.wanted.note)
        return True

    def _complete(self) -> None:
        """Try until complete; failures are counted anew whenever it came further than ever."""
        failures, since = 0, time.monotonic()
        while True:
            before = self._furthest
            try:
                self._once()
            except TryAgainError as error:
                if self._furthest > before:
                    failures, since = 0, time.monotonic()
                failures += 1
                if failures >= FAILURES_MAX or time.monotonic() - since > PATIENCE_S:
                    raise DownloadError(f"{error}; gave up after {failures} tries without progress") from None
                time.sleep(PAUSES_S[min(failures, len(PAUSES_S)) - 1])
            else:
                return

    def _known_part(self) -> tuple[int, str]:
        """Return size and validator of a part that belongs to this very file, else begin anew."""
        note = read_stamp(self.folder.read(self.wanted.note))
        status = self.folder.status(self.wanted.part)
        ours = note.get("url") == self.wanted.url and note.get("sha256") == self.wanted.sha256
        if status is None or not ours or status.st_size == 0:
            self.discard()
            return 0, ""
        return status.st_size, str(note.get("validator") or "")

    def _once(self) -> None:
        size, validator = self._known_part()
        headers = {"Range": f"bytes={size}-"} if size else {}
        if size and validator:
            headers["If-Range"] = validator
        with contextlib.closing(self.client.get(headers)) as response:
            total = self._judge(response, size)
            if total is not None:
                start = size if response.status == PARTIAL else 0
                self._receive(response, start, total)

    def _judge(self, response: Any, size: int) -> int | None:
        """Return the file's total size (-1 unknown), None when the part is complete; refuse anything else."""
        status = response.status
        if status == OK:
            self._refuse_page(response)
            length = response.getheader("Content-Length") or ""
            return int(length) if length.isdigit() else -1
        if status == PARTIAL and size:
            found = model_http.content_range(response)
            if found and found[0] == size and found[1] > size:
                self._resumed = True
                return found[1]
            self.discard()
            raise TryAgainError("the server sent another range than was asked for")
        if status == NOT_SATISFIABLE and size:
            if response.getheader("Content-Range") == f"bytes */{size}":
                self._resumed = True
                return None
            self.discard()
            raise TryAgainError("the file on the server is shorter than what was downloaded of it")
        where = model_http.shown(self.wanted.url)
        if status in PASSING:
            raise TryAgainError(f"{where} answers {status}")
        hint = "; hint: llama_models_token" if status in model_http.UNAUTHORISED else ""
        raise DownloadError(f"{where} answers {status}{hint}")

    def _refuse_page(self, response: Any) -> None:
        where = model_http.shown(self.wanted.url)
        if "html" in (response.getheader("Content-Type") or "").lower():
            raise DownloadError(f"{where} answers with a web page; hint: give the address of the file itself")
        if (response.getheader("Content-Encoding") or "identity") != "identity":
            raise DownloadError(f"{where} answers with compressed content")

    def _receive(self, response: Any, start: int, total: int) -> None:
        """Append to the part what comes, and make it lasting."""
        need, spare = total - start, self.folder.spare_bytes()
        if need > spare:
            raise DownloadError(f"{self.folder.path}: needs {need} bytes, {max(spare, 0)} can be spared")
        if start == 0:
            self.discard()
            note = {"url": self.wanted.url, "sha256": self.wanted.sha256}
            note["validator"] = model_http.validator(response)
            self.folder.write(self.wanted.note, json.dumps(note), 0o600)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(self.folder.open(self.wanted.part, flags), "ab") as file:
            try:
                end = self._pour(response, file, start, total)
            finally:
                file.flush()
                os.fsync(file.fileno())
        if total >= 0 and end < total:
            raise TryAgainError(f"the connection ended after {end} of {total} bytes")

    def _pour(self, response: Any, file: Any, position: int, total: int) -> int:
        while True:
            try:
                block = response.read(BLOCK)
            except (http.client.HTTPException, OSError) as error:
                raise TryAgainError(f"the connection broke after {position} bytes: {error}") from None
            if not block:
                return position
            if position == 0 and not block.startswith(MAGIC[: len(block)]):
                self.discard()
                raise DownloadError(f"{model_http.shown(self.wanted.url)} is no GGUF file")
            if total < 0 and len(block) > self.folder.spare_bytes():
                self.discard()
                raise DownloadError(f"{self.folder.path}: the file does not fit on the disk")
            position += len(block)
            self._furthest = max(self._furthest, position)
            self.transferred_bytes += len(block)
            file.write(block)
