"""HTTP for model downloads: who may be talked to, how redirects are followed, who gets to see the token."""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
from typing import Any
from urllib.parse import quote, urljoin, urlsplit


TIMEOUT_S = 30
REDIRECTS_MAX = 8
URL_SAFE = "%/:=&?~#+!$,;'@()*[]"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
UNAUTHORISED = frozenset({401, 403})
SCOPES = frozenset(
    {"global", "private", "loopback"}
)  # link-local holds cloud metadata: by literal address only


class DownloadError(Exception):
    """A download that will not succeed by trying again."""


class TryAgainError(Exception):
    """A download that was cut, refused for now, or whose server is not to be reached."""


def scope_of(address: str) -> str:
    """Tell how far an address reaches."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback or ip.is_unspecified:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    return "global" if ip.is_global and not ip.is_multicast else "private"


def shown(url: str) -> str:
    """Return a URL for messages: without query, which may carry a signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"[:300]


def check_url(url: str, *, allow_http: bool) -> None:
    """Refuse what is not https (or http where allowed) to a named host without credentials."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise DownloadError("the server redirects to something that is no address") from None
    if parts.scheme not in {"https", "http"} or not host:
        raise DownloadError(f"refused {parts.scheme or 'a'} address: only https is fetched")
    if parts.scheme == "http" and not allow_http:
        raise DownloadError(f"refused {shown(url)}: no https; hint: see llama_models_allow_http")
    if parts.username is not None or parts.password is not None:
        raise DownloadError(f"refused {shown(url)}: an address with a user name in it")
    if not host.isascii():
        raise DownloadError("refused a host name that is not ASCII; hint: write it in its xn-- form")


def is_literal(host: str) -> bool:
    """Tell an IP address from a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def origin_of(url: str) -> tuple[str, str | None, int]:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


class Client:
    """
    Fetches one model's address.

    A redirect may lead to global addresses, or to the kind of address that the original host has. What is
    checked is the address that is connected to, so that a name cannot change its mind in between.
    """

    def __init__(self, url: str, *, allow_http: bool = False, token: str = "") -> None:
        check_url(url, allow_http=allow_http)
        self.url = quote(url, safe=URL_SAFE)
        self._allow_http = allow_http
        self._token = token
        self._show_token = False
        self._scope: str | None = None
        self._tls = ssl.create_default_context()

    def get(self, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Follow redirects to an answer that is none."""
        url = self.url
        for _hop in range(REDIRECTS_MAX):
            response = self._ask(url, headers)
            if response.status in UNAUTHORISED and self._may_show_token(url) and not self._show_token:
                response.close()
                self._show_token = True
                response = self._ask(url, headers)
            location = response.getheader("Location")
            if response.status not in REDIRECTS or not location:
                return response
            response.close()
            url = urljoin(url, quote(location, safe=URL_SAFE))
            check_url(url, allow_http=self._allow_http)
        raise DownloadError(f"{shown(self.url)} redirects more than {REDIRECTS_MAX} times")

    def _may_show_token(self, url: str) -> bool:
        if not self._token or origin_of(url) != origin_of(self.url):
            return False
        return urlsplit(url).scheme == "https" or self._scope == "loopback"

    def _ask(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        scheme, host, port = origin_of(url)
        sent = {"Accept-Encoding": "identity", "User-Agent": "strixfleet", **headers}
        if self._show_token and self._may_show_token(url):
            sent["Authorization"] = f"Bearer {self._token}"
        connection = http.client.HTTPConnection(host or "", port, timeout=TIMEOUT_S)
        try:
            connection.sock = self._connect(url, host or "", port)
            if scheme == "https":
                connection.sock = self._tls.wrap_socket(connection.sock, server_hostname=host)
            target = urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl() or "/"
            connection.request("GET", target, headers={**sent, "Host": urlsplit(url).netloc})
            return connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            raise DownloadError(f"{host}: its certificate is not valid: {error.verify_message}") from None
        except (OSError, http.client.HTTPException) as error:
            raise TryAgainError(f"{host}: {error}") from None

    def _connect(self, url: str, host: str, port: int) -> socket.socket:
        """Connect to the first address that may be talked to."""
        first = origin_of(url) == origin_of(self.url)
        allowed = {"global", self._scope} if self._scope else set(SCOPES)
        if first and is_literal(host):
            allowed.add(scope_of(host))
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise TryAgainError(
                f"the name {host} does not resolve: {getattr(error, 'strerror', error)}"
            ) from None
        usable = [info for info in found if scope_of(str(info[4][0])) in allowed]
        if not usable:
            raise DownloadError(
                f"refused {shown(url)}: it leads to a {scope_of(str(found[0][4][0]))} address",
            )
        problem: OSError | None = None
        for family, kind, protocol, _name, address in usable:
            sock = socket.socket(family, kind, protocol)
            sock.settimeout(TIMEOUT_S)
            try:
                sock.connect(address)
            except OSError as error:
                sock.close()
                problem = error
            else:
                self._scope = self._scope or scope_of(str(address[0]))
                return sock
        raise TryAgainError(f"{host} does not answer: {problem}")


def content_range(response: Any) -> tuple[int, int] | None:
    """Return first byte and total size of a partial answer."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.getheader("Content-Range") or "")
    return (int(found[1]), int(found[2])) if found else None


def validator(response: Any) -> str:
    """Return what proves on resuming that the file is still the same: a strong ETag, else the date."""
    etag = str(response.getheader("ETag") or "")
    return etag if etag.startswith('"') else str(response.getheader("Last-Modified") or "")
