"""Each kind of thing: `have` as read, what cannot be read unknown, one key that differs is a difference."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.findings.items import Cure, Status
from strixfleet.managed.things.account import Account
from strixfleet.managed.things.file import Absent, File, Folder, Link, SecretFile
from strixfleet.managed.things.package import Holds, Package
from strixfleet.managed.things.thing import Check, Deed, Have, Settled, Thing, unread
from strixfleet.managed.things.unit import Unit
from strixfleet.managed.things.value import Value
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question
from tests.unit.managed.test_garbled_hosts import VALUES


OWNED: dict[str, Json] = {"mode": "0644", "owner": "root", "group": "root"}
FILE = File(id="a:f", path="/f", source="one\n")
SECRET = SecretFile(id="a:s", path="/s", source="canary-secret-1\n")
FOLDER = Folder(id="a:d", path="/d")
LINK = Link(id="a:l", path="/l", target="/there")
ABSENT = Absent(id="a:x", path="/x")
PACKAGE = Package(id="a:p", name="p", floor="2.10", known_bad=("2.11",))
HELD = Holds(id="a:h", names=("p", "q"), held=True)
RELEASED = Holds(id="a:r", names=("p", "q"), held=False)
UNIT = Unit(id="a:u", name="u.service")
ACCOUNT = Account(id="a:a", name="me", home="/home/me", groups=("render", "video"))
VALUE = Value(id="a:v", path="/proc/sys/net/ipv4/ip_local_port_range", value="32768 60999")
HEARD = Question(Ask.READ, "/proc/heard")
CHECK = Check(id="a:c", wanted="1", reader=lambda answers: Have.of(answers[HEARD]), questions=(HEARD,))
SETTLED = Settled(
    id="a:v", statement="as the host", choose=lambda _answers: VALUE, questions=(*VALUE.asks(),)
)
# Each kind with an answer that is as wanted.
RIGHT: dict[str, tuple[Thing, Json]] = {
    "file": (FILE, {"sha256": FILE.sha256, **OWNED}),
    "secret file": (SECRET, {"sha256": SECRET.sha256, **OWNED, "mode": "0600"}),
    "folder": (FOLDER, {"sha256": "directory", **OWNED, "mode": "0755"}),
    "link": (LINK, "/there"),
    "absent": (ABSENT, None),
    "package": (PACKAGE, "2.12-1"),
    "held": (HELD, "q\np\nr\n"),
    "released": (RELEASED, "r\n"),
    "unit": (UNIT, {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}),
    "account": (
        ACCOUNT,
        {"shell": "/usr/sbin/nologin", "home": "/home/me", "uid": 9, "groups": ["me", "render", "video"]},
    ),
    "value": (VALUE, "32768\t60999\n"),
    "check": (CHECK, "1"),
    "settled": (SETTLED, "32768\t60999\n"),
}
KINDS = pytest.mark.parametrize(("thing", "right"), RIGHT.values(), ids=RIGHT)
MAPS = [name for name, (_thing, answer) in RIGHT.items() if isinstance(answer, dict)]


def told(thing: Thing, value: Json = None, error: str | None = None) -> Answers:
    (question,) = thing.asks()
    return Answers({question: Answer(value, error)})


@KINDS
def test_as_wanted_is_ok_and_shown(thing: Thing, right: Json) -> None:
    row = thing.compare(told(thing, right))
    assert (row.id, row.status, row.message) == (thing.id, Status.OK, "")
    assert row.have == thing.read(told(thing, right)).value


@KINDS
def test_unread_is_unknown_with_the_reason_and_shows_nothing(thing: Thing, right: Json) -> None:
    for value in (None, right):
        row = thing.compare(told(thing, value, "PermissionError: no"))
        assert (row.status, row.have, row.message) == (Status.UNKNOWN, None, "PermissionError: no")


@KINDS
def test_never_asked_is_unknown(thing: Thing, right: Json) -> None:
    del right
    assert thing.compare(Answers({})).status is Status.UNKNOWN


@KINDS
@given(value=VALUES)
def test_any_answer_is_held_against_it(thing: Thing, right: Json, value: Json) -> None:
    """Nothing raises, and `have` does not depend on what is wanted."""
    del right
    answers = told(thing, value)
    row, deeds = thing.compare(answers), [*thing.deeds(answers)]
    assert row.have == thing.read(answers).value
    assert all(isinstance(deed, Deed) for deed in deeds)


@pytest.mark.parametrize("kind", MAPS)
@given(data=st.data())
def test_one_key_that_differs_is_a_difference(kind: str, data: st.DataObject) -> None:
    thing, right = RIGHT[kind]
    assert isinstance(right, dict)
    key = data.draw(st.sampled_from(sorted(right)))
    other = data.draw(VALUES.filter(lambda value: value != right[key]))
    if kind == "account" and key == "groups" and isinstance(other, list):
        other = [one for one in other if one != "render"]
    if kind == "account" and key == "uid":
        other = 0
    assert thing.compare(told(thing, {**right, key: other})).status is Status.DRIFT


@pytest.mark.parametrize("kind", [name for name in RIGHT if name not in {"absent", "released"}])
def test_absent_is_a_difference(kind: str) -> None:
    thing, _right = RIGHT[kind]
    row = thing.compare(told(thing))
    assert row.status is Status.DRIFT
    assert row.have in (None, [])


@given(st.lists(st.sampled_from(["render", "video", "audio", "me"])))
def test_more_groups_are_accepted_and_fewer_are_not(groups: list[str]) -> None:
    have: dict[str, Any] = {"shell": "/usr/sbin/nologin", "home": "/home/me", "uid": 9, "groups": groups}
    row = ACCOUNT.compare(told(ACCOUNT, have))
    assert (row.status is Status.OK) == ({"render", "video"} <= set(groups))
    assert row.have == have | {"groups": [one for one in groups if one != "me"]}


@pytest.mark.parametrize(
    ("more", "powers"),
    [({"groups": ["disk", "render", "sudo", "video"]}, "disk, sudo"), ({"uid": 0}, "uid 0")],
)
def test_an_account_that_may_do_more_is_left_to_a_person(more: dict[str, Json], powers: str) -> None:
    right = RIGHT["account"][1]
    assert isinstance(right, dict)
    row = ACCOUNT.compare(told(ACCOUNT, {**right, "uid": 990, **more}))
    assert (row.status, row.cure) == (Status.DRIFT, Cure.MANUAL)
    assert row.message.startswith(f"{powers}: take it away by `gpasswd -d me GROUP`")


def test_a_masked_unit_is_not_enabled() -> None:
    row = UNIT.compare(
        told(UNIT, {"LoadState": "masked", "ActiveState": "active", "UnitFileState": "masked"})
    )
    assert (row.status, row.have) == (Status.DRIFT, {"active": "active", "enabled": "masked"})


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("2.10", "ok"),
        ("2.9", "drift"),
        ("10.0", "ok"),
        ("2.11", "drift"),
        ("2.11-1", "drift"),
        ("2.110", "ok"),
    ],
)
def test_a_package_is_shown_by_its_version_and_judged_by_floor_and_list(version: str, status: str) -> None:
    row = PACKAGE.compare(told(PACKAGE, version))
    assert (row.have, row.status) == (version, status)
    bad = version.startswith("2.11") and status == "drift"
    assert row.message == ("version 2.11 is known to be bad" if bad else "")


def test_a_folder_tells_a_link_from_a_file() -> None:
    for digest, shown in (("-> /elsewhere", "-> /elsewhere"), ("0" * 64, "file")):
        have = FOLDER.read(told(FOLDER, {"sha256": digest, **OWNED})).value
        assert have == {"is": shown, **OWNED}


def test_a_secret_is_not_in_what_is_shown() -> None:
    for digest in (SECRET.sha256, "0" * 64):
        row = SECRET.compare(told(SECRET, {"sha256": digest, **OWNED}))
        assert digest not in str((row.want, row.have, SECRET.stated))
        assert "canary" not in str(row)


def test_something_in_the_way_is_named_by_its_row() -> None:
    found = {"sha256": "directory", **OWNED}
    row = ABSENT.compare(told(ABSENT, found))
    assert (row.status, row.have) == (Status.DRIFT, found)


DEEDS: list[tuple[Thing, list[tuple[str, dict[str, Json]]]]] = [
    (FILE, [("file", {"path": "/f", "content": "one\n", **OWNED})]),
    (SECRET, [("secret_file", {"path": "/s", "content": "canary-secret-1\n", **OWNED, "mode": "0600"})]),
    (FOLDER, [("folder", {"path": "/d", **OWNED, "mode": "0755"})]),
    (LINK, [("link", {"path": "/l", "target": "/there"})]),
    (ABSENT, [("absent", {"path": "/x"})]),
    (HELD, [("hold", {"name": "p"}), ("hold", {"name": "q"})]),
    (RELEASED, [("release", {"name": "p"}), ("release", {"name": "q"})]),
    (UNIT, [("unit", {"name": "u.service"})]),
    (VALUE, [("value", {"path": VALUE.path, "value": "32768 60999"})]),
    (SETTLED, [("value", {"path": VALUE.path, "value": "32768 60999"})]),
    (CHECK, []),
]


@pytest.mark.parametrize(("thing", "deeds"), DEEDS, ids=lambda one: getattr(one, "id", ""))
def test_what_brings_it_about(thing: Thing, deeds: list[tuple[str, dict[str, Json]]]) -> None:
    assert [(one.kind, dict(one.arguments)) for one in thing.deeds(told(thing))] == deeds


def test_what_settles_on_a_host_is_not_stated() -> None:
    assert SETTLED.stated == "as the host"
    assert SETTLED.compare(told(SETTLED, "1 2")).want == "32768 60999"


LIVE_WANT: dict[str, Json] = {"configured": "1", "running": "1", "effect": "1"}


@pytest.mark.parametrize(
    ("have", "status"),
    [
        ({"configured": "1", "running": "1", "effect": "1"}, "ok"),
        ({"configured": "1", "running": None, "effect": "0"}, "pending_reboot"),
        ({"configured": "1", "running": "1", "effect": "0"}, "drift"),  # booted as asked, and it did not help
        ({"configured": None, "running": None, "effect": "0"}, "drift"),
        ({"configured": None, "running": "1", "effect": "1"}, "drift"),
        (None, "drift"),
    ],
)
def test_a_reboot_is_due_where_the_running_system_alone_differs(have: Json, status: str) -> None:
    reader: Callable[[Answers], Have] = lambda _answers: Have(have)  # noqa: E731
    thing = Check(id="a:k", wanted=LIVE_WANT, reader=reader, live=("running", "effect"))
    assert thing.compare(Answers({})).status == status


def test_unread_names_the_first_reason() -> None:
    first, second = Question(Ask.READ, "/1"), Question(Ask.READ, "/2")
    answers = Answers({first: Answer("x"), second: Answer(error="no")})
    assert unread(answers, (first, second)) == "no"
    assert unread(answers, (first,)) is None
