"""Only the one key with the fingerprint that is wanted passes, armoured or not."""

import base64
import subprocess
from pathlib import Path

import pytest

from strixfleet.errors import UsageError
from strixfleet.fleet.controller_files import controller_facts
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.tools.repository_key import repository_key
from tests.fixtures.repository_key import ARMOURED, FINGERPRINT


OTHER = base64.b64decode(
    "mQENBGsA/BABCACtkwVxxxgvXxpO1bdYJAgVlceo2COGhJ3Jv0Ih2RuonSVRAeSGJIESUvOXwfUYXQLSciH1C23vzO9Ff374xahdjzHM"
    "2//P//iRODVzkHCtac36A1lJ9ZYRMBs9ixFeYuMyh7CO8Y616FWsPis+KWcJMRa8GRsQJtCWfFn1ZetX9LsGIRZuYRBm6nUGoddfEgik"
    "6usUadU4DRRo9/ITL5Dx49eY75x4qItw+DqDPFa/XAKwAGdXFdU0yef82lHRgvruEw4KNst0GpBFLNt7J+unML+mU+zki9NM+N2pRIFE"
    "6P2Nmip5cIufwvOU7HtCSOU38ErnAfbZCMsX4NAI0JeRABEBAAE="
)  # the key packet alone of an RSA key, 42C0…
OTHER_FINGERPRINT = "42C0C5ECD2420D44D5994CE8E3A2652E6A42BEDF"
SECRET = base64.b64decode(
    "lFgEZZIAgBYJKwYBBAHaRw8BAQdAzvT+4YV1ESNrCb084W+7kCGOs5eT8UBpIWY+KofPuZkAAQDT8NkG9RHJ8MGKVIMZgem6D/iU"
    "M+Rf0taFvBOdEQiq+xIptBNTdWIgPHNAZXhhbXBsZS5vcmc+iJAEExYIADgWIQQClX1bHo1C9pJ3QTW266ma9cmJlAUCZZIAgAIb"
    "AQULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRC266ma9cmJlPlqAP0Q3LHA06/qei3tSLshvct7ULwPb9X+UUWFrOjFEE19XgEA"
    "tuNwi3ZOCAZVwvno10tMKjZiVwOmcScfRfKaZ+DHHwucWARlkgCAFgkrBgEEAdpHDwEBB0D0/6zOLpeukKlJYgrogDhZGbsmMvr9"
    "P9qcV6hNQMF0CwAA/3Q00Nq2ZvsAeRlknZBKQycjxFbJ+HgoyWrH2KB6G+IOENSI7wQYFggAIBYhBAKVfVsejUL2kndBNbbrqZr1"
    "yYmUBQJlkgCAAhsCAIEJELbrqZr1yYmUdiAEGRYIAB0WIQRrg8ALPFz1kge4ROMv8C+EZi1AAAUCZZIAgAAKCRAv8C+EZi1AAEYW"
    "AQCj/+KrU1LG6X6B0e3chY98mxGN2wfBb7ZAFCbqbMNVDQD/b+hws6okVdM2S5fie4cx3k+hEYC4SkjJJgzHgjqblwN57AEAhwuR"
    "hJmweIPGMRNgQbXqJEJcpytkUAVgdzcQcx/zg5sA/RIGuIAKoqK2/pW+3mu56DDRl6WYxm6xuCmiQWdc5DQF"
)
WITH_SUBKEY = base64.b64decode(
    "mDMEZZIAgBYJKwYBBAHaRw8BAQdAzvT+4YV1ESNrCb084W+7kCGOs5eT8UBpIWY+KofPuZm0E1N1YiA8c0BleGFtcGxlLm9yZz6I"
    "kAQTFggAOBYhBAKVfVsejUL2kndBNbbrqZr1yYmUBQJlkgCAAhsBBQsJCAcCBhUKCQgLAgQWAgMBAh4BAheAAAoJELbrqZr1yYmU"
    "+WoA/RDcscDTr+p6Le1IuyG9y3tQvA9v1f5RRYWs6MUQTX1eAQC243CLdk4IBlXC+ejXS0wqNmJXA6ZxJx9F8ppn4McfC7gzBGWS"
    "AIAWCSsGAQQB2kcPAQEHQPT/rM4ul66QqUliCuiAOFkZuyYy+v0/2pxXqE1AwXQLiO8EGBYIACAWIQQClX1bHo1C9pJ3QTW266ma"
    "9cmJlAUCZZIAgAIbAgCBCRC266ma9cmJlHYgBBkWCAAdFiEEa4PACzxc9ZIHuETjL/AvhGYtQAAFAmWSAIAACgkQL/AvhGYtQABG"
    "FgEAo//iq1NSxul+gdHt3IWPfJsRjdsHwW+2QBQm6mzDVQ0A/2/ocLOqJFXTNkuX4nuHMd5PoRGAuEpIySYMx4I6m5cDeewBAIcL"
    "kYSZsHiDxjETYEG16iRCXKcrZFAFYHc3EHMf84ObAP0SBriACqKitv6Vvt5ruegw0ZelmMZusbgpokFnXOQ0BQ=="
)
WITH_SUBKEY_FINGERPRINT = "02957D5B1E8D42F692774135B6EBA99AF5C98994"


def dearmoured(text: str) -> bytes:
    argv = ["gpg", "--batch", "--dearmor"]
    return subprocess.run(argv, input=text.encode(), capture_output=True, check=True).stdout


BINARY = dearmoured(ARMOURED)


def test_an_armoured_key_is_written_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "key.asc"
    path.write_text(ARMOURED)

    assert repository_key(path, FINGERPRINT) == ARMOURED


@pytest.mark.parametrize(("content", "fingerprint"), [(BINARY, FINGERPRINT), (OTHER, OTHER_FINGERPRINT)])
def test_a_binary_key_is_armoured(tmp_path: Path, content: bytes, fingerprint: str) -> None:
    path = tmp_path / "key.gpg"
    path.write_bytes(content)

    assert dearmoured(repository_key(path, fingerprint)) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OTHER, f"holds the key {OTHER_FINGERPRINT}, the inventory wants {FINGERPRINT} and no other"),
        (BINARY + OTHER, f"holds the key {FINGERPRINT} and {OTHER_FINGERPRINT}, the inventory wants"),
        (OTHER + BINARY, f"holds the key {OTHER_FINGERPRINT} and {FINGERPRINT}, the inventory wants"),
        ((ARMOURED + ARMOURED).encode(), f"holds the key {FINGERPRINT} and {FINGERPRINT}, the inventory"),
        (BINARY[:40], "is not a public OpenPGP key"),
        (b"", "is not a public OpenPGP key"),
        (b"<html>404 Not Found</html>", "is not a public OpenPGP key"),
        (SECRET, "is not a public OpenPGP key"),
        (
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!\n-----END PGP PUBLIC KEY BLOCK-----\n",
            "is not a public",
        ),
        (bytes(2 << 20), "is too large for a key"),
    ],
    ids=["swapped", "extra", "extra-first", "twice", "cut", "empty", "html", "secret", "damaged", "large"],
)
def test_any_other_file_is_refused_with_a_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)

    with pytest.raises(UsageError) as caught:
        repository_key(path, FINGERPRINT)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "; hint: " in str(caught.value)


def test_a_subkey_does_not_count_as_a_key(tmp_path: Path) -> None:
    (tmp_path / "key.gpg").write_bytes(WITH_SUBKEY)

    assert repository_key(tmp_path / "key.gpg", WITH_SUBKEY_FINGERPRINT)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        repository_key(tmp_path / "nowhere.asc", FINGERPRINT)
    assert "nowhere.asc: No such file or directory; hint: download" in str(caught.value)


def test_without_gpg_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key.asc").write_text(ARMOURED)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match="gpg is not installed on the controller; hint: apt install gpg"):
        repository_key(tmp_path / "key.asc", FINGERPRINT)


def test_the_key_is_read_only_where_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "key.asc"
    path.write_text(ARMOURED)
    values = {"tailscale_repository_key": str(path), "tailscale_repository_fingerprint": FINGERPRINT}

    used = controller_facts(HostSettings.model_validate({**values, "tailscale_enabled": True}))
    unused = controller_facts(HostSettings.model_validate(values))

    assert (used.tailscale_key, unused.tailscale_key) == (ARMOURED, "")
