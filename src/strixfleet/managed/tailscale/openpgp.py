"""OpenPGP public keys (RFC 4880, version 4): their fingerprints, and the armoured form that apt reads."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator


PUBLIC_KEY = 6
SECRET_KEYS = (5, 7)
VERSION = 4
NEW_FORMAT = 0x40
LEAST_KEY_BYTES = 6
BLOCK = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\r?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL
)


def dearmor(text: str) -> bytes:
    """Take the bytes out of one armoured block; a text with none or several is refused."""
    blocks = BLOCK.findall(text)
    if len(blocks) != 1:
        raise ValueError(f"has {len(blocks)} public key blocks, one is wanted")
    lines = [line.strip() for line in blocks[0].splitlines()]
    start = lines.index("") + 1 if "" in lines else 0
    body = "".join(line for line in lines[start:] if not line.startswith("="))
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ValueError(f"is damaged: {error}") from None


def _crc24(data: bytes) -> int:
    """Return the checksum of RFC 4880, section 6.1."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc & 0xFFFFFF


def armor(data: bytes) -> str:
    """Write the armoured form."""
    body = base64.b64encode(data).decode()
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    checksum = base64.b64encode(_crc24(data).to_bytes(3, "big")).decode()
    block = ["-----BEGIN PGP PUBLIC KEY BLOCK-----", "", *lines, f"={checksum}"]
    return "\n".join([*block, "-----END PGP PUBLIC KEY BLOCK-----", ""])


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    first = data[at]
    if first < 192:  # noqa: PLR2004 - RFC 4880, 4.2.2
        return first, at + 1
    if first < 224:  # noqa: PLR2004
        return ((first - 192) << 8) + data[at + 1] + 192, at + 2
    if first == 255:  # noqa: PLR2004
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    raise ValueError("has a packet of unknown length")


def _old_length(data: bytes, at: int, kind: int) -> tuple[int, int]:
    if kind == 3:  # noqa: PLR2004 - RFC 4880, 4.2.1
        raise ValueError("has a packet of unknown length")
    size = 1 << kind
    return int.from_bytes(data[at : at + size], "big"), at + size


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return (tag, body) of each packet; RFC 4880, section 4.2."""
    at = 0
    while at < len(data):
        first = data[at]
        if not first & 0x80:
            raise ValueError("is no OpenPGP key")
        if first & NEW_FORMAT:
            tag = first & 0x3F
            length, at = _new_length(data, at + 1)
        else:
            tag = first >> 2 & 0x0F
            length, at = _old_length(data, at + 1, first & 3)
        if at + length > len(data):
            raise ValueError("is cut short")
        yield tag, data[at : at + length]
        at += length


def fingerprints(data: bytes) -> list[str]:
    """
    Return the fingerprints of all primary keys: SHA-1 over 0x99, the length and the packet (RFC 4880, 12.2).

    Secret keys and key versions other than 4 are refused with ValueError, and so is anything cut or damaged.
    """
    found = []
    try:
        for tag, body in _packets(data):
            if tag in SECRET_KEYS:
                raise ValueError("holds a secret key")
            if tag == PUBLIC_KEY:
                if len(body) < LEAST_KEY_BYTES or body[0] != VERSION:
                    raise ValueError("has a key of another version than 4")
                framed = b"\x99" + len(body).to_bytes(2, "big") + body
                found.append(hashlib.sha1(framed, usedforsecurity=False).hexdigest().upper())
    except (IndexError, OverflowError):
        raise ValueError("is cut short") from None
    if not found:
        raise ValueError("holds no public key")
    return found


def read_key(content: bytes) -> bytes:
    """Return the binary form of a key file, armoured or not."""
    return dearmor(content.decode("ascii", "replace")) if content.lstrip().startswith(b"-----") else content
