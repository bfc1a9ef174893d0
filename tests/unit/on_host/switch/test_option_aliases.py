"""Options that releases spell differently: what a help and a unit say, who is asked, what is written."""

from pathlib import Path

import pytest

from strixfleet.managed.llama_server.server_options import check_options, inventory_line, unit_words
from strixfleet.managed.llama_server.unit_quoting import Variable
from strixfleet.on_host.switch.option_aliases import (
    SPELLINGS,
    foreign_lines,
    help_options,
    known_options,
    options_text,
    respelled,
    takes_several,
    variable,
)


NEW, OLD = (Path(__file__).with_name("help").joinpath(f"{name}.txt").read_text() for name in ("new", "old"))
NO_MMAP, DRAFT_MAX, MLOCK = (
    "STRIXFLEET_OPTION_NO_MMAP",
    "STRIXFLEET_OPTION_DRAFT_MAX",
    "STRIXFLEET_OPTION_MLOCK",
)
SERVER = ["/bin/llama-server", "--model", "m.gguf", "--port", "8080", "--metrics"]


def test_a_removed_option_is_listed_and_does_not_work() -> None:
    found = help_options(NEW)
    assert found["--draft-max"] == "use --spec-draft-n-max or --spec-ngram-mod-n-max"
    assert (
        found["--draft-min"] == found["--draft-n-min"] == "use --spec-draft-n-min or --spec-ngram-mod-n-min"
    )
    assert found["--spec-ngram-size-n"].endswith("--spec-ngram-mod-n-match")
    assert [name for name, instead in found.items() if instead] == [
        "--draft",
        "--draft-n",
        "--draft-max",
        "--draft-min",
        "--draft-n-min",
        "--spec-ngram-size-n",
    ]
    known = known_options(NEW)
    assert {"--load-mode", "-lm", "--model-draft", "--spec-draft-model", "--no-slots", "-ngl"} <= known
    assert {"--list-devices", "--spec-ngram-mod-n-max", "--draft", "--no-mmap"} & known == set()


def test_an_option_without_text_and_another_layout_are_read_too() -> None:
    assert known_options("--one\n--two\n") == {"--one", "--two"}
    assert known_options("  -h, --help     show it\n                 and --not-this\n") == {"-h", "--help"}
    assert known_options("----- common params -----\n\n") == set()
    assert help_options("--x N  the argument has been removed\n") == {"--x": "removed"}
    assert help_options("--x  the argument has been removed\n--x  works\n") == {"--x": ""}


def test_each_help_is_told_what_it_knows() -> None:
    assert respelled(NEW) == {
        "--mmap": "--load-mode mmap",
        "--no-mmap": "--load-mode none",
        "--mlock": "--load-mode mlock",
        "--direct-io": "--load-mode dio",
        **dict.fromkeys(("--draft-max", "--draft-n", "--draft"), "--spec-draft-n-max"),
        **dict.fromkeys(("--draft-min", "--draft-n-min"), "--spec-draft-n-min"),
    }
    assert respelled(OLD)["--load-mode none"] == "--no-mmap"
    assert respelled(OLD)["--spec-draft-n-max"] == "--draft-max"
    assert "--no-mmap" not in respelled("--no-mmap\n--load-mode M\n")
    assert respelled("") == {}


def test_the_file_has_a_line_for_each_and_foreign_ones_are_found() -> None:
    text = options_text(respelled(NEW))
    assert f"{NO_MMAP}=--load-mode none\n" in text
    assert foreign_lines(text) == []
    assert foreign_lines(f"{text}LD_PRELOAD=x\n{NO_MMAP}=--tools all\n") == [
        "LD_PRELOAD=x",
        f"{NO_MMAP}=--tools all",
    ]
    assert len({variable(words) for words in SPELLINGS}) == len(SPELLINGS)


def test_a_build_that_takes_one_address_is_told_loopback() -> None:
    assert not takes_several(OLD)
    assert not takes_several("")
    assert takes_several(
        "--host HOST    IP addresses to listen on,\n               comma-separated (env: X)\n"
    )
    assert not takes_several("--host H   an address\n--api-key K   keys, comma-separated\n")
    assert options_text({}) == ""
    assert options_text({}, several=False) == "STRIXFLEET_OPTION_HOST=127.0.0.1\n"
    assert foreign_lines(options_text({}, several=False)) == []
    assert foreign_lines("STRIXFLEET_OPTION_HOST=0.0.0.0\n") == ["STRIXFLEET_OPTION_HOST=0.0.0.0"]
    words, variables = unit_words({"host": "127.0.0.1,100.64.0.1", "port": "1"})
    assert words == ["--host", Variable("STRIXFLEET_OPTION_HOST"), "--port", "1"]
    assert variables == {"STRIXFLEET_OPTION_HOST": "127.0.0.1,100.64.0.1"}
    assert check_options([], variables, NEW).addresses
    assert not check_options([], [NO_MMAP], NEW).addresses


def test_only_what_releases_spell_differently_becomes_a_variable() -> None:
    options = {"mlock": None, "jinja": None, "no-mmap": None, "draft-max": "16", "threads": "8"}
    words, variables = unit_words(options)
    assert words == [
        *("--jinja", "--threads", "8"),
        *(Variable(NO_MMAP), Variable(MLOCK), Variable(DRAFT_MAX), "16"),
    ]
    assert variables == {NO_MMAP: "--no-mmap", MLOCK: "--mlock", DRAFT_MAX: "--draft-max"}
    words, variables = unit_words({"load-mode": "none", "spec-draft-n-max": "4"})
    assert variables == {
        "STRIXFLEET_OPTION_LOAD_MODE_NONE": "--load-mode none",
        "STRIXFLEET_OPTION_SPEC_DRAFT_N_MAX": "--spec-draft-n-max",
    }
    assert words == [
        Variable("STRIXFLEET_OPTION_SPEC_DRAFT_N_MAX"),
        "4",
        Variable("STRIXFLEET_OPTION_LOAD_MODE_NONE"),
    ]
    assert unit_words({"load-mode": "auto", "no-mmap": "1"}) == (
        ["--load-mode", "auto", "--no-mmap", "1"],
        {},
    )


def test_options_that_are_gone_are_named_with_their_new_spelling() -> None:
    argv = [*SERVER, "--no-mmap", "--gone=1", "-x", "--draft-max", "16", "--spec-ngram-size-n", "3"]
    check = check_options(argv, [NO_MMAP, DRAFT_MAX], NEW)
    assert check.renames == {"--no-mmap": "--load-mode none", "--draft-max": "--spec-draft-n-max"}
    assert check.problems == (
        "--gone",
        f"--spec-ngram-size-n (its help: {help_options(NEW)['--spec-ngram-size-n']})",
    )
    assert check.rows[0] == "--no-mmap, which is now `--load-mode none`"
    assert check_options(argv, [NO_MMAP], "") == check_options(SERVER, [], NEW)
    assert check_options([*SERVER, "--no-mmap"], [NO_MMAP], OLD).rows == ()


def test_what_a_unit_of_before_spells_out_cannot_be_rewritten() -> None:
    check = check_options([*SERVER, "--no-mmap"], [], NEW)
    assert check.renames == {}
    assert "`--load-mode none` (`strixfleet provision` makes it" in check.problems[0]


def test_a_server_that_is_told_otherwise_already_is_judged_by_its_unit() -> None:
    """The new spelling it runs with is the current build's own; the next build gets the unit's."""
    argv = [*SERVER, "--load-mode", "none", "--load-mode", "mlock", "--spec-draft-n-max", "16"]
    used = [NO_MMAP, MLOCK, DRAFT_MAX]
    assert check_options(argv, used, NEW).renames == {
        "--no-mmap": "--load-mode none",
        "--mlock": "--load-mode mlock",
        "--draft-max": "--spec-draft-n-max",
    }
    assert check_options(argv, used, OLD).rows == ()
    assert check_options(argv, [], OLD).renames == {}
    both = check_options([*SERVER, "--no-mmap", "--load-mode", "none"], [NO_MMAP], OLD)
    assert both.problems[0].startswith("--load-mode none, which is now")
    back = check_options([*SERVER, "--load-mode", "none"], ["STRIXFLEET_OPTION_LOAD_MODE_NONE"], OLD)
    assert back.renames == {"--load-mode none": "--no-mmap"}


@pytest.mark.parametrize(
    ("spelling", "line"),
    [
        ("--no-mmap", "no-mmap: null"),
        ("--load-mode none", "load-mode: none"),
        ("--draft-max", "draft-max: …"),
        ("--spec-draft-n-max", "spec-draft-n-max: …"),
    ],
)
def test_a_spelling_as_the_inventory_has_it(spelling: str, line: str) -> None:
    assert inventory_line(spelling) == line


def test_what_systemd_shows_of_a_unit_gives_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    from strixfleet.on_host import command, watch

    shown = f'Environment=HOME=/x "{NO_MMAP}=--no-mmap" STRIXFLEET_CONFIG=0 {DRAFT_MAX}=--draft-max\n'
    monkeypatch.setattr(command, "run", lambda *_given, **_more: command.Finished(0, shown, ""))
    assert watch.variables("llama-server@chat.service") == [NO_MMAP, DRAFT_MAX]
