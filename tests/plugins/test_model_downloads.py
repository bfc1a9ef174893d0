"""Downloads by curl: under its final name a file always has the wanted digest, whatever the server does."""

import contextlib
import datetime as dt
import hashlib
import ipaddress
import json
import random
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.plugins.collection import collection
from tests.plugins.fault_server import Behaviour, FaultServer, Reply, Request, fault_server, serve_ranges


CONTENT = b"GGUF" + random.Random(7).randbytes(700_000)  # noqa: S311 - content, not a secret
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PART = f"m.gguf.{DIGEST[:16]}.part"
Fetch = Callable[..., dict[str, Any]]


@pytest.fixture
def download(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = collection("module_utils.model_download")
    monkeypatch.setattr(module, "PAUSES_S", (0,))
    return module


@pytest.fixture
def fetch(tmp_path: Path, download: ModuleType) -> Fetch:
    del download
    module = collection("modules.model_file")

    def run(url: str, **more: object) -> dict[str, Any]:
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
        return dict(module.ensure({**wanted, **more}, check_mode=False))

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


def test_a_good_server_is_asked_once(tmp_path: Path, fetch: Fetch) -> None:
    with fault_server(serve_ranges(CONTENT)) as server:
        assert fetch(f"{server.url}/m.gguf")["changed"]
        assert not fetch(f"{server.url}/m.gguf")["changed"]
        assert len(server.requests) == 1
    assert_stored(tmp_path)


@pytest.mark.parametrize("cut", [200_000, 65_536, 350_001])
def test_a_cut_download_is_resumed_at_no_extra_cost(tmp_path: Path, fetch: Fetch, cut: int) -> None:
    with fault_server(serve_ranges(CONTENT, cut_after=cut)) as server:
        fetch(f"{server.url}/m.gguf")
        assert server.sent_bytes <= len(CONTENT) * 1.1
        assert len(server.requests) == -(-len(CONTENT) // cut)
    assert_stored(tmp_path)


def test_a_later_run_resumes_what_an_earlier_one_left(tmp_path: Path, fetch: Fetch) -> None:
    good, gone = serve_ranges(CONTENT), list[bool]()

    def behave(request: Request) -> Reply:
        if gone:
            return good(request)
        return Reply(503) if request.range else Reply(200, {}, CONTENT, 500_000)

    with fault_server(behave) as server:
        with pytest.raises(Exception, match="503; gave up after 5 tries"):
            fetch(f"{server.url}/m.gguf")
        assert set(stored(tmp_path)) == {PART}
        gone.append(True)
        before = server.sent_bytes
        fetch(f"{server.url}/m.gguf")
        assert server.sent_bytes - before == len(CONTENT) - 500_000
    assert_stored(tmp_path)


def test_what_was_begun_for_another_digest_makes_way(tmp_path: Path, fetch: Fetch) -> None:
    """Also what versions that downloaded without curl have left."""
    folder = tmp_path / "models/m"
    folder.mkdir(parents=True)
    for name in ("m.gguf.part", ".m.gguf.part.json", "m.gguf.0123456789abcdef.part"):
        (folder / name).write_bytes(b"GGUF")
    (folder / "other.gguf.part").write_bytes(b"GGUF")
    with fault_server(serve_ranges(CONTENT)) as server:
        fetch(f"{server.url}/m.gguf")
        assert server.requests[0].range is None
    (folder / "other.gguf.part").unlink()
    assert_stored(tmp_path)


def ignores_ranges(request: Request) -> Reply:
    return Reply(200, {}, CONTENT, 300_000 if request.range is None else None)


def ignores_ranges_once() -> Behaviour:
    sizes = iter([300_000, None, None])
    return lambda _request: Reply(200, {}, CONTENT, next(sizes))


def changes_in_between() -> Behaviour:
    first = iter([Reply(200, {"ETag": '"old"'}, b"GGUF" + bytes(700_000), 300_000)])
    good = serve_ranges(CONTENT, etag='"new"')
    return lambda request: next(first, None) or good(request)


def sends_another_range() -> Behaviour:
    whole = {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}
    first = iter([Reply(200, {}, CONTENT, 300_000), Reply(206, whole, CONTENT)])
    return lambda _request: next(first, None) or Reply(200, {}, CONTENT)


def stumbles() -> Behaviour:
    answers = iter([Reply(500), Reply(502), Reply(429), Reply(503)])
    good = serve_ranges(CONTENT)
    return lambda request: next(answers, None) or good(request)


@pytest.mark.parametrize(
    "behaviour", [ignores_ranges_once, changes_in_between, sends_another_range, stumbles]
)
def test_what_a_server_may_do_and_the_right_file_comes_all_the_same(
    tmp_path: Path, fetch: Fetch, behaviour: Callable[[], Behaviour]
) -> None:
    with fault_server(behaviour()) as server:
        fetch(f"{server.url}/m.gguf")
    assert_stored(tmp_path)


def test_a_server_that_makes_no_progress_is_given_up(fetch: Fetch) -> None:
    with fault_server(ignores_ranges) as server:
        with pytest.raises(Exception, match="gave up after 5 tries without progress"):
            fetch(f"{server.url}/m.gguf")
        assert len(server.requests) <= 10


def test_a_stalled_server_is_left_and_asked_again(
    tmp_path: Path, fetch: Fetch, download: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALL_S", 1)
    good, first = serve_ranges(CONTENT), iter([Reply(200, {}, CONTENT, 300_000, pause_s=4)])
    with fault_server(lambda request: next(first, None) or good(request)) as server:
        fetch(f"{server.url}/m.gguf")
        assert [request.range for request in server.requests] == [None, "bytes=300000-"]
    assert_stored(tmp_path)


@pytest.mark.parametrize("more", [b"", b"more"], ids=["complete", "too long"])
def test_a_part_that_the_server_has_nothing_to_add_to(tmp_path: Path, fetch: Fetch, more: bytes) -> None:
    with fault_server(serve_ranges(CONTENT)) as server:
        (tmp_path / "models/m").mkdir(parents=True)
        (tmp_path / "models/m" / PART).write_bytes(CONTENT + more)
        fetch(f"{server.url}/m.gguf")
        assert len(server.requests) == (2 if more else 1)
    assert_stored(tmp_path)


def page(_request: Request) -> Reply:
    return Reply(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Sign in</html>")


def flipped(_request: Request) -> Reply:
    return Reply(200, {}, CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))


def short(_request: Request) -> Reply:
    return Reply(200, {}, CONTENT[:-10])


def longer(_request: Request) -> Reply:
    return Reply(200, {}, CONTENT + b"x")


def unending(_request: Request) -> Reply:
    return Reply(200, {"Content-Length": "9000000000000000"}, CONTENT)


@pytest.mark.parametrize(
    ("behave", "message"),
    [
        (page, "is not the file that the inventory names, but a web page"),
        (flipped, "is not the file that the inventory names: its sha256 is"),
        (short, "is not the file that the inventory names"),
        (longer, "is not the file that the inventory names"),
        (unending, "does not fit, the disk can spare [0-9]+ bytes; hint: free some space"),
        (lambda _request: Reply(404), "404"),
        (lambda _request: Reply(401), "401; hint: llama_models_token"),
        (lambda _request: Reply(302, {"Location": "/m.gguf"}), r"Maximum \(8\) redirects followed"),
        (lambda _request: Reply(302, {"Location": "file:///etc/passwd"}), "hint: give an https address"),
    ],
)
def test_what_is_not_the_model_gets_no_name(
    tmp_path: Path, fetch: Fetch, behave: Behaviour, message: str
) -> None:
    with fault_server(behave) as server, pytest.raises(Exception, match=message):
        fetch(f"{server.url}/m.gguf?signature=planted")
    assert stored(tmp_path) == {}


@pytest.mark.parametrize("behave", [page, flipped], ids=["page", "flipped"])
def test_a_wrong_file_is_not_fetched_twice(fetch: Fetch, behave: Behaviour) -> None:
    with fault_server(behave) as server:
        with pytest.raises(Exception, match="is not the file") as caught:
            fetch(f"{server.url}/m.gguf?signature=planted")
        assert len(server.requests) == 1
    assert "planted" not in str(caught.value)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, fetch: Fetch, programs: Path) -> None:
    """A server that does not say how much comes is stopped when the disk is full."""
    script = f"""#!/bin/sh
echo GGUF > "{tmp_path}/models/m/{PART}"
echo '{{"http_code": 200, "content_type": null, "errormsg": "Failure writing", "size_download": 5}}'
exit 23
"""
    (programs / "curl").write_text(script)
    (programs / "curl").chmod(0o755)
    with pytest.raises(Exception, match="does not fit, the disk can spare"):
        fetch("https://127.0.0.1/m.gguf")
    assert stored(tmp_path) == {}


def test_curl_inherits_the_lock(tmp_path: Path, fetch: Fetch, programs: Path) -> None:
    """Where it outlives a run that was killed, the next one waits for it."""
    script = f"""#!/bin/sh
readlink /proc/$$/fd/* > {tmp_path}/open
exec {shutil.which("curl")} "$@"
"""
    (programs / "curl").write_text(script)
    (programs / "curl").chmod(0o755)
    with fault_server(serve_ranges(CONTENT)) as server:
        fetch(f"{server.url}/m.gguf")
    assert f"{tmp_path}/models/m" in (tmp_path / "open").read_text().splitlines()


def test_an_address_is_taken_as_it_is(tmp_path: Path, fetch: Fetch) -> None:
    with fault_server(serve_ranges(CONTENT)) as server:
        fetch(f'{server.url}/m[1-2]{{a,b}}"\\.gguf')
        assert [request.path for request in server.requests] == ['/m[1-2]{a,b}"\\.gguf']
    assert_stored(tmp_path)


def test_the_old_file_stays_until_the_new_one_is_checked(tmp_path: Path, fetch: Fetch) -> None:
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
        fetch(f"{server.url}/m.gguf")
        assert len(server.requests) == 1
    assert_stored(tmp_path)


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Return a server's certificate that curl trusts."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "cert.pem"))
    return context


def test_a_stranger_s_certificate_is_refused(
    fetch: Fetch, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CURL_CA_BUNDLE")
    with fault_server(serve_ranges(CONTENT), tls=tls) as server:
        with pytest.raises(Exception, match="certificate"):
            fetch(f"{server.url}/m.gguf", token="planted-token")
        assert server.requests == []


@pytest.mark.parametrize("scheme", ["http", "ftp", "file"])
def test_only_https_is_fetched(fetch: Fetch, scheme: str) -> None:
    with pytest.raises(Exception, match="hint: give an https address"):
        fetch(f"{scheme}://127.0.0.1/m.gguf", http_allowed=False)


def test_https_does_not_fall_back_to_http(tmp_path: Path, fetch: Fetch, tls: ssl.SSLContext) -> None:
    with fault_server(serve_ranges(CONTENT)) as plain:
        moved = Reply(302, {"Location": f"{plain.url}/m.gguf"})
        with (
            fault_server(lambda _request: moved, tls=tls) as server,
            pytest.raises(Exception, match="see llama_models_allow_http"),
        ):
            fetch(f"{server.url}/m.gguf", http_allowed=False)
        assert plain.requests == []
        with fault_server(lambda _request: moved, tls=tls) as server:
            fetch(f"{server.url}/m.gguf", http_allowed=True)
    assert_stored(tmp_path)


def needs_token(storage: FaultServer) -> Behaviour:
    def behave(request: Request) -> Reply:
        if request.authorization != "Bearer planted-token":
            return Reply(401)
        return Reply(302, {"Location": f"{storage.url}/m.gguf"})

    return behave


def test_a_token_is_sent_when_asked_for_and_only_to_the_original_host(
    tmp_path: Path, fetch: Fetch, tls: ssl.SSLContext
) -> None:
    with fault_server(serve_ranges(CONTENT), tls=tls) as storage:
        with fault_server(needs_token(storage), tls=tls) as gate:
            fetch(f"{gate.url}/m.gguf", token="planted-token", http_allowed=False)
        assert [request.authorization for request in gate.requests] == [None, "Bearer planted-token"]
        assert [request.authorization for request in storage.requests] == [None]
    assert_stored(tmp_path)


def test_a_token_is_not_sent_to_a_server_that_does_not_ask(fetch: Fetch, tls: ssl.SSLContext) -> None:
    with fault_server(serve_ranges(CONTENT), tls=tls) as server:
        fetch(f"{server.url}/m.gguf", token="planted-token")
        assert {request.authorization for request in server.requests} == {None}


def test_a_token_is_not_sent_in_the_clear(fetch: Fetch) -> None:
    with fault_server(lambda _request: Reply(401)) as server:
        with pytest.raises(Exception, match="401"):
            fetch(f"{server.url}/m.gguf", token="planted-token")
        assert {request.authorization for request in server.requests} == {None}


def test_no_secret_shows_in_the_list_of_processes(
    tmp_path: Path, fetch: Fetch, programs: Path, tls: ssl.SSLContext
) -> None:
    """Neither the token nor the signature in an address."""
    argv = tmp_path / "argv"
    (programs / "curl").write_text(f'#!/bin/sh\necho "$@" >> {argv}\nexec {shutil.which("curl")} "$@"\n')
    (programs / "curl").chmod(0o755)
    with (
        fault_server(serve_ranges(CONTENT), tls=tls) as storage,
        fault_server(needs_token(storage), tls=tls) as gate,
    ):
        fetch(f"{gate.url}/m.gguf?signature=planted-signature", token="planted-token")
    assert len(argv.read_text().splitlines()) == 2
    assert "planted" not in argv.read_text()


def test_a_host_without_curl_is_told_so(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Exception, match="curl is not installed on this host; hint: apt install curl"):
        fetch("https://127.0.0.1/m.gguf")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://huggingface.co/x/resolve/main/m.gguf", "hub-token"),
        ("https://cdn.hf.co/m.gguf", "hub-token"),
        ("https://huggingface.co.evil.example/m.gguf", ""),
        ("https://evilhuggingface.co/m.gguf", ""),
        ("https://models.example/m.gguf", ""),
    ],
)
def test_the_controller_s_hub_token_is_for_the_hub_alone(
    monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hub-token")

    assert collection("action.model_file").environment_token(url) == shown


@pytest.mark.parametrize("seed", range(12))
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
        with fault_server(behave) as server, contextlib.suppress(download.StoreError):
            fetch(f"{server.url}/m.gguf")
        found = stored(tmp_path).get("m.gguf")
        assert found in {None, CONTENT}
