"""`strixfleet trust` enrols all keys that it showed, or says which not and why."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strixfleet.cli import main
from strixfleet.commands import trust
from strixfleet.hosts.host_keys import HostKey


Typed = Callable[..., tuple[int, str, str]]


def key(kind: str, text: str = "") -> HostKey:
    return HostKey(kind, base64.b64encode(f"{kind}{text}".encode()).decode())


ED, RSA, ECDSA = key("ssh-ed25519"), key("ssh-rsa"), key("ecdsa-sha2-nistp256")
OTHER_RSA = key("ssh-rsa", "other")


@pytest.fixture
def typed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Type `strixfleet trust …`, where a host shows one set of keys after the other."""
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    h1:\n      ansible_host: 192.0.2.1\n")

    def run(*arguments: str, shows: list[set[HostKey]]) -> tuple[int, str, str]:
        answers: Iterator[set[HostKey]] = iter(shows * 2 if len(shows) == 1 else shows)
        monkeypatch.setattr(trust, "offered", lambda _host: frozenset(next(answers)))
        with pytest.raises(SystemExit) as left:
            main(["trust", "-i", str(tmp_path), *arguments])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return run


def known_hosts(tmp_path: Path) -> set[str]:
    text = (tmp_path / ".strixfleet" / "known_hosts").read_text()
    return {line.split()[1] for line in text.splitlines()}


def test_a_busy_host_that_shows_one_key_less_has_all_enrolled(typed: Typed, tmp_path: Path) -> None:
    code, out, err = typed("--yes", shows=[{ED, RSA}, {ED, RSA, ECDSA}])
    assert code == 0
    assert all(one.kind in out for one in (ED, RSA, ECDSA))
    assert known_hosts(tmp_path) == {ED.kind, RSA.kind, ECDSA.kind}
    assert "h1: enrolled ecdsa-sha2-nistp256, ssh-ed25519, ssh-rsa in " in err


def test_two_keys_of_one_kind_are_two_machines(typed: Typed, tmp_path: Path) -> None:
    code, out, _ = typed("--yes", shows=[{ED, RSA}, {ED, OTHER_RSA}])
    assert code == 3
    assert "showed two different keys of one kind" in out
    assert not (tmp_path / ".strixfleet" / "known_hosts").exists()


def test_a_key_that_is_shown_and_not_enrolled_is_said(typed: Typed, tmp_path: Path) -> None:
    typed("--yes", shows=[{ED}])
    code, out, _ = typed("--yes", shows=[{ED, RSA}])
    assert code == 0
    (line,) = (line for line in out.splitlines() if "ssh-rsa" in line)
    assert line.endswith("(not enrolled: another key is; --replace enrols all)")
    assert known_hosts(tmp_path) == {ED.kind}
    typed("--yes", "--replace", shows=[{ED, RSA}])
    assert known_hosts(tmp_path) == {ED.kind, RSA.kind}


def test_a_key_that_enrolling_anew_removes_is_said(typed: Typed, tmp_path: Path) -> None:
    typed("--yes", shows=[{ED, RSA}])
    _, _, err = typed("--yes", "--replace", shows=[{OTHER_RSA}])
    assert "h1: no longer enrolled: ssh-ed25519, which the host does not show any more" in err
    assert known_hosts(tmp_path) == {RSA.kind}
