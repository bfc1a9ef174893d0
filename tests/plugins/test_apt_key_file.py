"""Only the one key with the fingerprint that is wanted passes, armoured or not."""

import base64
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from ansible.errors import AnsibleActionFail

from strixfleet.managed.tailscale.openpgp import armor, dearmor, fingerprints, read_key
from tests.conftest import ROOT


ACTION = ROOT / "plugins" / "action" / "apt_key_file.py"
ARMOURED = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawD8EBYJKwYBBAHaRw8BAQdAJLUB+gTo9vHL2/ATfUXIMOjqzCqu4TVqsbss
ApSKCUq0KFRlc3QgcmVwb3NpdG9yeSA8cmVwb3NpdG9yeUBleGFtcGxlLm9yZz6I
kAQTFggAOBYhBOaijhpgJZ84/hy5QWKMISX9JtP7BQJrAPwQAhsDBQsJCAcCBhUK
CQgLAgQWAgMBAh4BAheAAAoJEGKMISX9JtP7jwEBAPvxoFmgWVv3k41nThL16fgo
Op6mfqBokDJXrlEt9mzkAQD5d9OQgcXOF/YmFelpRwdFXIdxqf0a0zdnGHvPsyTG
AQ==
=v2C1
-----END PGP PUBLIC KEY BLOCK-----
"""
FINGERPRINT = "E6A28E1A60259F38FE1CB941628C2125FD26D3FB"  # as gpg 2.2 shows it
OTHER = base64.b64decode(
    "mQENBGsA/BABCACtkwVxxxgvXxpO1bdYJAgVlceo2COGhJ3Jv0Ih2RuonSVRAeSGJIESUvOXwfUYXQLSciH1C23vzO9Ff374xahdjzHM"
    "2//P//iRODVzkHCtac36A1lJ9ZYRMBs9ixFeYuMyh7CO8Y616FWsPis+KWcJMRa8GRsQJtCWfFn1ZetX9LsGIRZuYRBm6nUGoddfEgik"
    "6usUadU4DRRo9/ITL5Dx49eY75x4qItw+DqDPFa/XAKwAGdXFdU0yef82lHRgvruEw4KNst0GpBFLNt7J+unML+mU+zki9NM+N2pRIFE"
    "6P2Nmip5cIufwvOU7HtCSOU38ErnAfbZCMsX4NAI0JeRABEBAAE="
)  # the key packet alone of an RSA key, 42C0…
OTHER_FINGERPRINT = "42C0C5ECD2420D44D5994CE8E3A2652E6A42BEDF"


@pytest.fixture(scope="module")
def action() -> ModuleType:
    spec = importlib.util.spec_from_file_location("apt_key_file_action", ACTION)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fingerprints_are_those_that_gpg_shows() -> None:
    assert fingerprints(dearmor(ARMOURED)) == [FINGERPRINT]
    assert fingerprints(OTHER) == [OTHER_FINGERPRINT]


def test_armour_is_the_one_that_gpg_writes() -> None:
    assert armor(dearmor(ARMOURED)) == ARMOURED


@pytest.mark.parametrize("content", [ARMOURED.encode(), dearmor(ARMOURED)], ids=["armoured", "binary"])
def test_the_wanted_key_passes(action: ModuleType, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)

    assert action.checked_key(path, FINGERPRINT) == ARMOURED


@pytest.mark.parametrize(
    "content",
    [
        OTHER,
        dearmor(ARMOURED) + OTHER,
        OTHER + dearmor(ARMOURED),
        (ARMOURED + ARMOURED).encode(),
        dearmor(ARMOURED)[:40],
        b"",
        b"<html>404 Not Found</html>",
        b"\xc5" + dearmor(ARMOURED)[1:],
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!\n-----END PGP PUBLIC KEY BLOCK-----\n",
    ],
    ids=["swapped", "extra", "extra-first", "twice", "cut", "empty", "html", "secret", "damaged"],
)
def test_any_other_file_is_refused_with_a_remedy(action: ModuleType, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)

    with pytest.raises(AnsibleActionFail, match="hint:"):
        action.checked_key(path, FINGERPRINT)


def test_a_missing_file_is_named(action: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match=r"nowhere\.asc: No such file"):
        action.checked_key(tmp_path / "nowhere.asc", FINGERPRINT)


@pytest.mark.parametrize("size", range(len(OTHER)))
def test_a_key_cut_anywhere_is_never_another_error(size: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        fingerprints(read_key(OTHER[:size]))
