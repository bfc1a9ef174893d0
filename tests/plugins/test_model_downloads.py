"""R12: a file under its final name always has the wanted digest, whatever the server does."""

import contextlib
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.plugins.fault_server import Behaviour, FaultServer, Reply, Request, fault_server, serve_ranges


CONTENT = b"GGUF" + random.Random(7).randbytes(700_000)  # noqa: S311 - content, not a secret
DIGEST = hashlib.sha256(CONTENT).hexdigest()
Fetch = Callable[..., dict[str, Any]]


@pytest.fixture
def fetch(tmp_path: Path, proof: ModuleType, download: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    """Fetch into a store under tmp_path, without pauses between tries."""
    monkeypatch.setattr(download, "PAUSES_S", (0,))

    def run(url: str, **more: str) -> dict[str, Any]:
        wanted = {
            "path": str(tmp_path / "models/m/m.gguf"),
            "stamp": str(tmp_path / "models/m/.m.gguf.json"),
            "origin": "url",
            "source": url,
            "sha256": DIGEST,
            "http_allowed": True,
            "token": "",
            "incoming": None,
            "wait_s": 5,
        }
        return dict(proof.store({**wanted, **more}))

    return run


def stored(tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "models/m"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def assert_stored(tmp_path: Path) -> None:
    files = stored(tmp_path)
    assert set(files) == {"m.gguf", ".m.gguf.json"}
    assert files["m.gguf"] == CONTENT
    status = (tmp_path / "models/m/m.gguf").stat()
    stamp = json.loads(files[".m.gguf.json"])
    assert stamp["sha256"] == DIGEST
    assert (stamp["inode"], stamp["mtime_ns"]) == (status.st_ino, status.st_mtime_ns)
    assert status.st_mode & 0o777 == 0o644


def test_a_good_server(tmp_path: Path, fetch: Fetch) -> None:
    with fault_server(serve_ranges(CONTENT)) as server:
        assert fetch(f"{server.url}/m.gguf")["transferred_bytes"] == len(CONTENT)
    assert_stored(tmp_path)


@pytest.mark.parametrize("cut", [200_000, 65_536, 350_001])
def test_a_cut_download_is_resumed_at_no_extra_cost(tmp_path: Path, fetch: Fetch, cut: int) -> None:
    with fault_server(serve_ranges(CONTENT, cut_after=cut)) as server:
        fetch(f"{server.url}/m.gguf")
        assert server.sent_bytes <= len(CONTENT) * 1.1
        assert len(server.requests) == -(-len(CONTENT) // cut)
        assert {request.if_range for request in server.requests[1:]} == {'"one"'}
    assert_stored(tmp_path)


def test_a_later_run_resumes_what_an_earlier_one_left(tmp_path: Path, fetch: Fetch) -> None:
    good, gone = serve_ranges(CONTENT), list[bool]()

    def behave(request: Request) -> Reply:
        if gone:
            return good(request)
        return Reply(503) if request.range else Reply(200, {"ETag": '"one"'}, CONTENT, 500_000)

    with fault_server(behave) as server:
        with pytest.raises(Exception, match="503; gave up after 5 tries"):
            fetch(f"{server.url}/m.gguf")
        assert set(stored(tmp_path)) == {"m.gguf.part", ".m.gguf.part.json"}
        gone.append(True)
        assert fetch(f"{server.url}/m.gguf")["transferred_bytes"] == len(CONTENT) - 500_000
    assert_stored(tmp_path)


def ignores_ranges(request: Request) -> Reply:
    return Reply(200, {}, CONTENT, 300_000 if request.range is None else None)


def changes_in_between(request: Request) -> Reply:
    if request.range is None:
        return Reply(200, {"ETag": '"old"'}, b"GGUF" + bytes(700_000), 300_000)
    return serve_ranges(CONTENT, etag='"new"')(request)


def sends_another_range(request: Request) -> Reply:
    if request.range is None or request.range == "bytes=0-":
        return Reply(200, {}, CONTENT, 300_000 if not sends_another_range.__dict__.get("seen") else None)
    sends_another_range.__dict__["seen"] = True
    return Reply(206, {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}, CONTENT)


def resumes_with_other_bytes(request: Request) -> Reply:
    """Answer a range with bytes of another file and no validator, once."""
    if request.range is None:
        first = not resumes_with_other_bytes.__dict__.get("seen")
        return Reply(200, {}, CONTENT, 300_000 if first else None)
    resumes_with_other_bytes.__dict__["seen"] = True
    rest = len(CONTENT) - 300_000
    return Reply(206, {"Content-Range": f"bytes 300000-{len(CONTENT) - 1}/{len(CONTENT)}"}, bytes(rest))


def stumbles() -> Behaviour:
    answers = iter([Reply(500), Reply(502), Reply(429), Reply(503)])
    good = serve_ranges(CONTENT)
    return lambda request: next(answers, None) or good(request)


@pytest.mark.parametrize(
    "behave",
    [ignores_ranges, changes_in_between, sends_another_range, resumes_with_other_bytes, stumbles()],
    ids=["ignores ranges", "changes in between", "another range", "other bytes", "5xx and 429"],
)
def test_what_a_server_may_do_and_the_right_file_comes_all_the_same(
    tmp_path: Path, fetch: Fetch, behave: Behaviour
) -> None:
    with fault_server(behave) as server:
        fetch(f"{server.url}/m.gguf")
    assert_stored(tmp_path)


def test_a_server_that_never_comes_further_is_given_up(tmp_path: Path, fetch: Fetch) -> None:
    with fault_server(lambda _request: Reply(200, {}, CONTENT, 300_000)) as server:
        with pytest.raises(Exception, match=f"300000 of {len(CONTENT)} bytes; gave up after 5 tries"):
            fetch(f"{server.url}/m.gguf")
        assert len(server.requests) <= 6


def test_an_oversize_part_begins_anew(tmp_path: Path, fetch: Fetch, folder_module: ModuleType) -> None:
    """416 with another total: the part is longer than the file."""
    with fault_server(serve_ranges(CONTENT)) as server:
        url = f"{server.url}/m.gguf"
        folder_module.Folder(str(tmp_path / "models/m"))
        (tmp_path / "models/m/m.gguf.part").write_bytes(CONTENT + b"more")
        note = {"url": url, "sha256": DIGEST, "validator": '"one"'}
        (tmp_path / "models/m/.m.gguf.part.json").write_text(json.dumps(note))
        fetch(url)
    assert_stored(tmp_path)


def page(_request: Request) -> Reply:
    return Reply(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Sign in</html>")


def disguised_page(_request: Request) -> Reply:
    return Reply(200, {"Content-Type": "application/octet-stream"}, b"<!doctype html>" + bytes(1000))


def flipped(_request: Request) -> Reply:
    return Reply(200, {}, CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))


def short(_request: Request) -> Reply:
    return Reply(200, {}, CONTENT[:-10])


def longer(_request: Request) -> Reply:
    return Reply(200, {}, CONTENT + b"x")


def unending(_request: Request) -> Reply:
    return Reply(200, {"Content-Length": "9000000000000000"}, CONTENT)


def compressed(_request: Request) -> Reply:
    return Reply(200, {"Content-Encoding": "gzip"}, CONTENT)


@pytest.mark.parametrize(
    ("behave", "message"),
    [
        (page, "answers with a web page"),
        (disguised_page, "is no GGUF file"),
        (flipped, "is not the file that the inventory names: its sha256 is"),
        (short, "is not the file that the inventory names"),
        (longer, "is not the file that the inventory names"),
        (unending, "needs 9000000000000000 bytes"),
        (compressed, "compressed content"),
        (lambda _request: Reply(404), "answers 404"),
        (lambda _request: Reply(401), "answers 401; hint: llama_models_token"),
        (lambda _request: Reply(302, {"Location": "/m.gguf"}), "redirects more than 8 times"),
        (lambda _request: Reply(302, {"Location": "file:///etc/passwd"}), "only https is fetched"),
        (lambda _request: Reply(302, {"Location": "http://u:p@127.0.0.1/"}), "a user name in it"),
        (lambda _request: Reply(302, {"Location": "http://169.254.169.254/latest"}), "link-local"),
        (lambda _request: Reply(302, {"Location": "http://10.0.0.1/m.gguf"}), "a private address"),
    ],
)
def test_what_is_not_the_model_gets_no_name(
    tmp_path: Path, fetch: Fetch, behave: Behaviour, message: str
) -> None:
    with fault_server(behave) as server, pytest.raises(Exception, match="(?s)" + message):
        fetch(f"{server.url}/m.gguf")
    assert stored(tmp_path) == {}


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, fetch: Fetch, folder_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R10: a server that does not say how much comes is stopped when the disk runs full."""
    left = iter([10**9, 10**9])
    monkeypatch.setattr(folder_module.Folder, "spare_bytes", lambda _self: next(left, 0))

    def behave(_request: Request) -> Reply:
        return Reply(200, {"Content-Length": ""}, CONTENT * 4)

    with fault_server(behave) as server, pytest.raises(Exception, match="does not fit on the disk"):
        fetch(f"{server.url}/m.gguf")
    assert stored(tmp_path) == {}


def test_the_old_file_stays_until_the_new_one_is_proved(tmp_path: Path, fetch: Fetch) -> None:
    with fault_server(serve_ranges(CONTENT)) as server:
        fetch(f"{server.url}/m.gguf")
    with fault_server(flipped) as server, pytest.raises(Exception, match="not the file"):
        fetch(f"{server.url}/m.gguf", sha256="0" * 64)
    assert_stored(tmp_path)


def test_a_file_without_stamp_is_adopted_not_fetched(tmp_path: Path, fetch: Fetch) -> None:
    """A run that was killed between rename and stamp costs one reading."""
    with fault_server(serve_ranges(CONTENT)) as server:
        fetch(f"{server.url}/m.gguf")
        (tmp_path / "models/m/.m.gguf.json").unlink()
        (tmp_path / "models/m/m.gguf").chmod(0o600)
        assert fetch(f"{server.url}/m.gguf") == {}
        assert len(server.requests) == 1
    assert_stored(tmp_path)


def needs_token(server: list[FaultServer]) -> Behaviour:
    def behave(request: Request) -> Reply:
        if request.authorization != "Bearer planted-token":
            return Reply(401)
        return Reply(302, {"Location": server[0].url + "/m.gguf"})

    return behave


def test_a_token_is_shown_when_asked_for_and_only_to_the_original_host(tmp_path: Path, fetch: Fetch) -> None:
    others: list[FaultServer] = []
    with fault_server(serve_ranges(CONTENT)) as storage, fault_server(needs_token(others)) as gate:
        others.append(storage)
        fetch(f"{gate.url}/m.gguf", token="planted-token")
        assert [request.authorization for request in gate.requests] == [None, "Bearer planted-token"]
        assert [request.authorization for request in storage.requests] == [None]
    assert_stored(tmp_path)


def test_a_token_is_not_shown_to_a_server_that_does_not_ask(tmp_path: Path, fetch: Fetch) -> None:
    with fault_server(serve_ranges(CONTENT)) as server:
        fetch(f"{server.url}/m.gguf", token="planted-token")
        assert {request.authorization for request in server.requests} == {None}


@pytest.mark.parametrize("seed", range(40))
def test_any_sequence_of_faults_gives_the_right_file_or_none(
    tmp_path: Path, fetch: Fetch, download: ModuleType, seed: int
) -> None:
    """Random faults, two runs each: under the final name is the right file or nothing."""
    chance = random.Random(seed)  # noqa: S311 - repeatable faults
    good = serve_ranges(CONTENT)

    def behave(request: Request) -> Reply:
        kind = chance.randrange(8)
        if kind == 0:
            return Reply(chance.choice([500, 503, 429, 404, 416]))
        if kind == 1:
            return page(request)
        if kind == 2:
            return flipped(request)
        if kind == 3:
            return Reply(206, {"Content-Range": f"bytes {chance.randrange(9)}-8/9"}, CONTENT[:9])
        reply = good(request)
        reply.sent = chance.randrange(len(CONTENT)) if kind < 7 else None
        return reply

    for _run in range(2):
        with fault_server(behave) as server, contextlib.suppress(download.DownloadError):
            fetch(f"{server.url}/m.gguf")
        found = stored(tmp_path).get("m.gguf")
        assert found in {None, CONTENT}
