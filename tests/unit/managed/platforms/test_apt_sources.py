"""What a host's own apt says of its sources; apt runs on files of a scratch folder."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest

from strixfleet import assets
from strixfleet.findings.items import Cure, Difference, Status
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.compiled import compile_host
from strixfleet.managed.facts import ControllerFacts
from strixfleet.managed.platforms.apt_sources import (
    FOLDER,
    LIST,
    OUR_TAILSCALE,
    PARTS,
    SOURCES_FILE,
    TARGETS,
    Source,
    added,
    contradicting,
    mirror_of,
    missing_of,
    sources_of,
)
from strixfleet.managed.platforms.distributions import Suite
from strixfleet.on_host.ask import COMMANDS
from strixfleet.on_host.questions import Answer, Answers, Ask, Json, Question


pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt")

DEB822 = """# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/own.gpg

Types: deb
URIs: http://security.example/debian-security
Suites: trixie-security
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: trixie-backports
Components: main
"""
AskApt = Callable[[Mapping[str, str]], Answers]


@pytest.fixture
def ask_apt(tmp_path: Path) -> AskApt:
    """Return what a host with these files, by name, answers."""

    def ask(files: Mapping[str, str]) -> Answers:
        shutil.rmtree(tmp_path)
        for folder in (FOLDER.strip("/"), "lists/partial"):
            (tmp_path / folder).mkdir(parents=True)
        paths = {LIST.subject if name == "sources.list" else f"{FOLDER}/{name}": name for name in files}
        for path, name in paths.items():
            (tmp_path / path.strip("/")).write_text(files[name])
        program, *arguments = COMMANDS["apt_targets"]
        options = {
            "Dir::Etc::sourcelist": f"{tmp_path}{LIST.subject}",
            "Dir::Etc::sourceparts": f"{tmp_path}{FOLDER}",
            "Dir::State::lists": f"{tmp_path}/lists",
            "APT::Architecture": "amd64",
            "APT::Architectures::": "amd64",
        }
        argv = [program, *(f"-o{name}={value}" for name, value in options.items()), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        error = done.stderr.replace(str(tmp_path), "") if done.returncode else None
        rows: dict[Question, Answer] = {
            TARGETS: Answer(None if error else done.stdout.replace(str(tmp_path), ""), error),
            LIST: Answer(files.get("sources.list")),
        }
        for part in PARTS:
            found: dict[str, Json] = {
                path: files[name] for path, name in paths.items() if fnmatch(path, part.subject)
            }
            rows[part] = Answer(found)
        return Answers(rows)

    return ask


def test_sources_are_read_in_both_forms(ask_apt: AskApt) -> None:
    lines = (
        "\n\ndeb [arch=amd64 signed-by=/k.gpg] http://x.example/d trixie-backports main # no more\n#deb a b\n"
        "deb cdrom:[Debian GNU/Linux 13]/ trixie main\ndeb-src http://x.example/d trixie main\n"
        "deb [arch=arm64] http://arm.example/d trixie main\ndeb http://flat.example/d ./\n"
    )
    sources = sources_of(ask_apt({"sources.list": lines, "debian.sources": DEB822}))

    assert [(one.suites, one.components, one.signed_by) for one in sources] == [
        (("trixie-backports",), ("main",), "/k.gpg"),
        (("trixie", "trixie-updates"), ("main", "contrib"), "/usr/share/keyrings/own.gpg"),
        (("trixie-security",), ("main",), ""),
    ]


def test_what_is_missing_comes_from_the_machine_s_own_mirror(ask_apt: AskApt) -> None:
    sources = sources_of(ask_apt({"debian.sources": DEB822}))

    mirror = mirror_of(sources, "trixie", "debian")
    missing = missing_of(
        sources, [("trixie", ("main", "non-free-firmware")), ("trixie-backports", ("main",))]
    )

    assert mirror
    assert (mirror.uris, mirror.signed_by) == (
        ("http://mirror.example/debian",),
        "/usr/share/keyrings/own.gpg",
    )
    assert missing == (Suite("trixie", ("non-free-firmware",)), Suite("trixie-backports", ("main",)))


def rendered(rows: tuple[Source, ...]) -> str:
    return assets.render("host/etc/apt/sources.list.d/strixfleet.sources.j2", added=rows)


def test_what_a_suite_lacks_is_signed_as_the_suite_is_there(ask_apt: AskApt) -> None:
    """apt refuses all its sources where two entries of one address and suite are signed otherwise."""
    own = "deb http://mirror.example/debian/ trixie-backports main\n"
    files = {"backports.list": own, "debian.sources": DEB822}
    sources = sources_of(ask_apt(files))
    mirror = mirror_of(sources, "trixie", "debian")
    assert mirror
    lacking = (
        Suite("trixie-backports", ("non-free-firmware",)),
        Suite("trixie", ("non-free-firmware",)),
        Suite("trixie-x", ("main",)),
    )
    rows = added(lacking, sources, mirror)
    assert [one.signed_by for one in rows] == ["", mirror.signed_by, mirror.signed_by]
    answers = ask_apt({**files, "strixfleet.sources": rendered(rows)})
    assert answers[TARGETS].error is None
    assert "trixie\tnon-free-firmware" in str(answers[TARGETS].value)


def test_a_vendor_s_suite_is_no_mirror(ask_apt: AskApt) -> None:
    vendor = "deb [signed-by=/v.gpg] https://apt.vendor.example/stable trixie main\n"
    sources = sources_of(ask_apt({"a-vendor.list": vendor, "debian.sources": DEB822}))
    mirror = mirror_of(sources, "trixie", "debian")
    assert mirror
    assert mirror.uris == ("http://mirror.example/debian",)


UBUNTU = (
    "Types: deb\nURIs: http://archive.ubuntu.com/ubuntu/\nSuites: noble noble-updates\nComponents: main\n"
)


@pytest.mark.parametrize(
    "uri", ["https://repo.radeon.com/amdgpu/7.2/ubuntu", "https://pkgs.vendor.example/stable/ubuntu"]
)
def test_a_vendor_whose_address_ends_like_a_mirror_s_is_none(ask_apt: AskApt, uri: str) -> None:
    vendor = f"deb [signed-by=/v.gpg] {uri} noble main\n"
    sources = sources_of(ask_apt({"amdgpu.list": vendor, "ubuntu.sources": UBUNTU}))
    mirror = mirror_of(sources, "noble", "ubuntu")
    assert mirror
    assert mirror.uris == ("http://archive.ubuntu.com/ubuntu",)


@pytest.mark.parametrize(
    "options", [{"trusted": "yes"}, {"check-valid-until": "no", "snapshot": "20261101T000000Z"}]
)
def test_what_apt_compares_is_said_as_the_host_says_it(ask_apt: AskApt, options: dict[str, str]) -> None:
    words = " ".join(f"{name}={value}" for name, value in options.items())
    files = {"a.list": f"deb [ arch=amd64 {words} ] http://mirror.lan/debian trixie main\n"}
    sources = sources_of(ask_apt(files))
    mirror = mirror_of(sources, "trixie", "debian")
    assert mirror
    assert (mirror.signed_by == "") is ("trusted" in options)
    rows = added((Suite("trixie", ("contrib",)), Suite("trixie-backports", ("main",))), sources, mirror)
    again = sources_of(ask_apt({"y.sources": rendered(rows)}))
    assert again == rows
    assert all(dict(one.options) == options for one in again)


def test_a_source_that_cannot_be_copied_is_no_mirror(ask_apt: AskApt) -> None:
    answers = ask_apt({"x.list": "deb [allow-insecure=yes] http://mirror.lan/debian trixie main\n"})
    assert mirror_of(sources_of(answers), "trixie", "debian") is None


def test_a_source_whose_options_could_not_be_read_is_no_mirror(ask_apt: AskApt) -> None:
    targets = ask_apt({"debian.sources": DEB822})[TARGETS]
    assert mirror_of(sources_of(Answers({TARGETS: targets})), "trixie", "debian") is None


def test_entries_are_counted_as_apt_counts_them(ask_apt: AskApt) -> None:
    """Comments are no entry; a line of blanks does not end one, and the last of two fields counts."""
    text = (
        "\n# c\n\nTypes: deb\nURIs: http://a.example/d\nSuites: s1\nComponents: main\nSigned-By: /a\n \n"
        "Types: deb\nURIs: http://b.example/d\nSuites: s2\nComponents: main\nSigned-By: /b\n\t\n\n\n"
        "# c\n\n#c\nTypes: deb\nURIs: http://c.example/d\nSuites: s3\n# c\nComponents: main\nsigned-by: /c\n"
    )
    sources = sources_of(ask_apt({"x.sources": text}))
    assert [(one.suites, one.signed_by) for one in sources] == [(("s2",), "/b"), (("s3",), "/c")]


def gpu_stack_on(answers: Answers) -> tuple[dict[str, Difference], dict[str, list[Json]]]:
    """Return the rows of an audit of Debian 13 with these sources, and the deeds."""
    rows = {question: answers[question] for question in answers}
    rows[Question(Ask.READ, "/etc/os-release")] = Answer("ID=debian\nVERSION_ID=13\n")
    state = compile_host(Host("h", Connection("127.0.0.1"), HostSettings()), Answers(rows), ControllerFacts())
    found = {row.id: row for row in state.differences(Answers(rows))}
    return found, state.deeds(Answers(rows))["gpu_stack"]


TAILSCALE = "https://pkgs.tailscale.com/stable/debian"
OURS = f"Types: deb\nURIs: {TAILSCALE}\nSuites: trixie\nComponents: main\nSigned-By: /ours.asc\n"


def test_our_sources_are_no_mirror(ask_apt: AskApt) -> None:
    answers = ask_apt({"strixfleet-tailscale.sources": OURS, "strixfleet.sources": DEB822})
    assert sources_of(answers) == ()
    assert contradicting(answers) == ()


def test_our_source_gives_way_to_the_host_s(ask_apt: AskApt) -> None:
    """apt refuses all sources where two of one repository name different keys."""
    own = f"deb [signed-by=/t.gpg] {TAILSCALE}/ trixie main\n"
    files = {"debian.sources": DEB822, "strixfleet-tailscale.sources": OURS, "tailscale.list": own}
    answers = ask_apt(files)
    assert answers[TARGETS].value is None
    assert contradicting(answers) == (OUR_TAILSCALE,)
    rows, deeds = gpu_stack_on(answers)
    row = rows[f"gpu_stack:{OUR_TAILSCALE}"]
    assert (row.status, row.cure) == (Status.DRIFT, Cure.PROVISION)
    assert rows["gpu_stack:distribution"].status is not Status.UNKNOWN
    assert {"path": OUR_TAILSCALE} in deeds["absent"]
    assert "problem" not in deeds
    assert "file" not in deeds


def test_what_we_added_gives_way_to_the_host_s(ask_apt: AskApt) -> None:
    own = "deb [signed-by=/own.gpg] http://mirror.example/debian trixie-backports main\n"
    ours = DEB822.replace("trixie trixie-updates", "trixie-backports")
    answers = ask_apt({"backports.list": own, "strixfleet.sources": ours})
    assert contradicting(answers) == (SOURCES_FILE,)
    assert {"path": SOURCES_FILE} in gpu_stack_on(answers)[1]["absent"]


TWICE = "deb [signed-by=/a] http://a.example b c\ndeb http://a.example b d\n"


@pytest.mark.parametrize("text", ["nonsense\n", TWICE], ids=["malformed", "contradiction of others"])
def test_sources_that_apt_refuses_are_unknown_with_apt_s_reason(ask_apt: AskApt, text: str) -> None:
    answers = ask_apt({"debian.sources": DEB822, "x.list": text})
    assert contradicting(answers) == ()
    rows, deeds = gpu_stack_on(answers)
    for name in ("distribution", SOURCES_FILE):
        row = rows[f"gpu_stack:{name}"]
        assert row.status is Status.UNKNOWN
        assert "The list of sources could not be read" in row.message
    assert "apt cannot read its sources: E: " in str(deeds["problem"])
    assert "absent" not in deeds


@pytest.mark.parametrize("lines", [1, 2000], ids=["short", "as long as Debian's"])
def test_a_key_within_a_source_is_kept(ask_apt: AskApt, lines: int) -> None:
    armour = "-----{} PGP PUBLIC KEY BLOCK-----"
    body = " mQINBF\n" * lines
    key = f" {armour.format('BEGIN')}\n .\n{body} {armour.format('END')}\n"
    uris = "URIs: https://deb.debian.org/debian\nSuites: trixie\nComponents: main\n"
    files = {"x.sources": f"Types: deb\n{uris}Signed-By:\n{key}\n{DEB822}"}
    source, *others = sources_of(ask_apt(files))
    assert len(others) == 2
    text = rendered((source,))
    assert sources_of(ask_apt({"y.sources": text})) == (source,)
    assert key.rstrip("\n") in text


def test_no_mirror_is_no_mirror(ask_apt: AskApt) -> None:
    assert mirror_of(sources_of(ask_apt({"x.sources": DEB822})), "noble", "ubuntu") is None
    assert sources_of(ask_apt({})) == ()
