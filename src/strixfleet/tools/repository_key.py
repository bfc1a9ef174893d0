"""The key of an apt repository: a file of the controller, which gpg identifies before any host trusts it."""

import base64
import subprocess
import tempfile
import textwrap
from functools import lru_cache
from pathlib import Path

from strixfleet.errors import FleetError, UsageError


ARMOUR = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{}\n-----END PGP PUBLIC KEY BLOCK-----\n"
ARMOUR_COLUMNS = 64
KEY_LIMIT_BYTES = 1 << 20


@lru_cache(maxsize=16)
def repository_key(path: Path, fingerprint: str) -> str:
    """
    Return a key file's content, armoured, for `Signed-By` in an apt source.

    It must hold exactly one primary key, with the given fingerprint; anything else raises UsageError.
    """
    try:
        if path.stat().st_size > KEY_LIMIT_BYTES:
            hint = "name a file that holds the key alone"
            raise UsageError("is too large for a key", where=str(path), hint=hint)
        content = path.read_bytes()
    except OSError as error:
        hint = "download the repository's key to this file, or correct its path"
        raise UsageError(str(error.strerror), where=str(path), hint=hint) from None
    found = _fingerprints(content, path)
    if found != [fingerprint]:
        raise UsageError(
            f"holds the key {' and '.join(found)}, the inventory wants {fingerprint} and no other",
            where=str(path),
            hint="find out why before you use this key or change the fingerprint",
        )
    if content.lstrip().startswith(b"-----"):
        return content.decode()
    body = base64.b64encode(content).decode()
    return ARMOUR.format("\n".join(textwrap.wrap(body, ARMOUR_COLUMNS)))


def _fingerprints(content: bytes, path: Path) -> list[str]:
    """Return the fingerprints of all primary keys; the format is described in GnuPG's doc/DETAILS."""
    with tempfile.TemporaryDirectory() as home:
        argv = ["gpg", "--homedir", home, "--batch", "--no-autostart", "--show-keys", "--with-colons"]
        try:
            done = subprocess.run(argv, input=content, capture_output=True, check=False, timeout=60)
        except FileNotFoundError:
            raise FleetError("gpg is not installed on the controller", hint="apt install gpg") from None
    rows = [line.split(":") for line in done.stdout.decode("utf-8", "replace").splitlines()]
    kinds = {row[0] for row in rows}
    if done.returncode != 0 or "pub" not in kinds or "sec" in kinds:
        hint = "download the repository's public key again"
        raise UsageError("is not a public OpenPGP key", where=str(path), hint=hint)
    found, primary = [], False
    for row in rows:
        if row[0] in {"pub", "sub"}:
            primary = row[0] == "pub"
        elif row[0] == "fpr" and primary:
            found.append(row[9])
    return found
