"""S10: whom a download may talk to, over what, and who gets to see a token."""

import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.plugins.collection import collection
from tests.plugins.fault_server import Reply, fault_server


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://models.example/m.gguf", "no https; hint: see llama_models_allow_http"),
        ("ftp://models.example/m.gguf", "only https is fetched"),
        ("file:///etc/shadow", "only https is fetched"),
        ("https:///m.gguf", "only https is fetched"),
        ("https://me:secret@models.example/m.gguf", "with a user name in it"),
        ("https://models.example:99999/m.gguf", "is no address"),
        ("https://mödels.example/m.gguf", "xn-- form"),
    ],
)
def test_what_is_no_plain_https_address_is_refused(http_client: ModuleType, url: str, message: str) -> None:
    with pytest.raises(http_client.DownloadError, match=message) as caught:
        http_client.Client(url)
    assert "secret" not in str(caught.value)


def test_https_does_not_fall_back_to_http(http_client: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    client = http_client.Client("https://127.0.0.1/m.gguf")
    moved = type(
        "Moved",
        (),
        {
            "status": 302,
            "getheader": lambda _self, _name: "http://127.0.0.1/m.gguf",
            "close": lambda _self: None,
        },
    )
    monkeypatch.setattr(client, "_ask", lambda _url, _headers: moved())

    with pytest.raises(http_client.DownloadError, match="no https"):
        client.get({})


def resolve_to(*addresses: str) -> Callable[..., list[Any]]:
    def resolve(_host: str, port: int, **_more: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve


def test_a_name_that_leads_to_metadata_is_refused(
    http_client: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cloud metadata is at a link-local address."""
    monkeypatch.setattr(socket, "getaddrinfo", resolve_to("169.254.169.254"))

    with pytest.raises(http_client.DownloadError, match="leads to a link-local address"):
        http_client.Client("https://models.example/m.gguf").get({})


def test_the_open_net_leads_to_no_address_of_the_host(
    http_client: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first server counts as one of the open net; the second gets no request."""
    honest = http_client.scope_of
    with fault_server(lambda _request: Reply(200, {}, b"GGUF")) as inner:

        def lead_inside(_request: object) -> Reply:
            return Reply(302, {"Location": inner.url.replace("127.0.0.1", "localhost") + "/m.gguf"})

        with fault_server(lead_inside) as outer:
            scopes = iter(["global", "global"])
            monkeypatch.setattr(
                http_client, "scope_of", lambda address: next(scopes, None) or honest(address)
            )
            client = http_client.Client(f"{outer.url}/m.gguf", allow_http=True)
            client._scope = "global"
            with pytest.raises(http_client.DownloadError, match="leads to a loopback address"):
                client.get({})

            assert len(outer.requests) == 1
        assert inner.requests == []


def test_a_name_cannot_change_its_mind(http_client: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: the address that is connected to is the one that was judged, each time anew."""
    with fault_server(lambda _request: Reply(200, {}, b"GGUF")) as server:
        port = int(server.url.rpartition(":")[2])
        client = http_client.Client(f"http://models.example:{port}/m.gguf", allow_http=True)
        monkeypatch.setattr(socket, "getaddrinfo", resolve_to("127.0.0.1"))
        client.get({}).close()
        monkeypatch.setattr(socket, "getaddrinfo", resolve_to("10.0.0.1", "192.168.1.1"))

        with pytest.raises(http_client.DownloadError, match="leads to a private address"):
            client.get({})


@pytest.mark.parametrize(
    ("address", "scope"),
    [
        ("8.8.8.8", "global"),
        ("127.8.8.8", "loopback"),
        ("0.0.0.0", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("10.1.2.3", "private"),
        ("100.64.0.1", "private"),
        ("fd7a:115c:a1e0::1", "private"),
        ("224.0.0.1", "private"),
        ("2606:4700::1", "global"),
    ],
)
def test_how_far_an_address_reaches(http_client: ModuleType, address: str, scope: str) -> None:
    assert http_client.scope_of(address) == scope


def test_a_name_that_does_not_resolve_is_said(
    http_client: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_more: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(http_client.TryAgainError, match=r"models\.example does not resolve: Temporary"):
        http_client.Client("https://models.example/m.gguf").get({})


def self_signed(folder: Path) -> ssl.SSLContext:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_https_is_spoken_and_a_stranger_s_certificate_is_refused(
    http_client: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_server(lambda _request: Reply(200, {}, b"GGUF"), tls=self_signed(tmp_path)) as server:
        stranger = http_client.Client(f"{server.url}/m.gguf", token="planted-token")
        with pytest.raises(http_client.DownloadError, match="its certificate is not valid: self-signed"):
            stranger.get({})
        assert server.requests == []

        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        response = http_client.Client(f"{server.url}/m.gguf").get({})
        assert response.read() == b"GGUF"
        response.close()


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
