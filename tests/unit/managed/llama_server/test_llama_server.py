"""Units: what a word becomes, what a unit may do, and when a server is started anew."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.findings.items import Cure, Difference
from strixfleet.inventory.schema.fleet_model import Connection, Host
from strixfleet.inventory.schema.parts import Instance
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.compiled import machine_of
from strixfleet.managed.facts import Facts
from strixfleet.managed.llama_cpp.build import CURRENT, MANIFEST
from strixfleet.managed.llama_server import server_command, server_unit, unit_quoting
from strixfleet.managed.llama_server.aspect import llama_server
from strixfleet.managed.llama_server.server_files import TEMPLATE, template_file
from strixfleet.managed.llama_server.server_unit import Server
from strixfleet.managed.platforms.backends import backend_of
from strixfleet.managed.things.file import File
from strixfleet.managed.things.thing import Thing
from strixfleet.on_host.questions import Answer, Answers, Ask, Question
from strixfleet.on_host.switch.option_aliases import ONE_HOST


DIGEST = "a" * 64
MODELS = [
    {"name": "big", "url": "https://models.example/big.gguf", "sha256": DIGEST},
    {"name": "small", "host_path": "/home/me/small model.gguf", "sha256": "b" * 64},
]
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
CORES = Facts(physical_cores=16)
NOTHING = Answers({})


@dataclass(frozen=True)
class Compiled:
    things: tuple[Thing, ...]
    answers: Answers

    @property
    def units(self) -> list[Server]:
        return [thing for thing in self.things if isinstance(thing, Server)]

    @property
    def template(self) -> File:
        return next(one for one in self.things if isinstance(one, File) and one.path == TEMPLATE)

    @property
    def rows(self) -> dict[str, Difference]:
        return {thing.id: thing.compare(self.answers) for thing in self.things}

    @property
    def renamed(self) -> bool:
        (deed,) = self.units[0].deeds(self.answers)
        return deed.arguments["renamed"] is True


def compiled(
    instance: dict[str, Any],
    *,
    facts: Facts = CORES,
    answers: Answers = NOTHING,
    **settings: object,
) -> "Compiled":
    given_settings = HostSettings.model_validate(
        {
            "llama_models": MODELS,
            "llama_server_instances": [{"name": "chat", "model": "big", "port": 8080, **instance}],
            **settings,
        }
    )
    host = Host("h", Connection("127.0.0.1"), given_settings)
    machine, _profile = machine_of(host, facts, answers)
    return Compiled(tuple(llama_server(given_settings, machine)), answers)


def drop_in(instance: dict[str, Any], **more: Any) -> str:  # noqa: ANN401 - what `compiled` takes
    return compiled(instance, **more).units[0].drop_in.content


def words_of(line: str) -> Iterator[str]:
    """Read a command line as systemd.syntax(7), systemd.unit(5) and systemd.service(5) say."""
    word, at, quoted = "", 0, False
    while at < len(line):
        char = line[at]
        if char == "\\" and quoted:
            if line[at + 1] == "x":
                word, at = word + chr(int(line[at + 2 : at + 4], 16)), at + 4
            else:
                word, at = word + line[at + 1], at + 2
            continue
        if char in "%$" and quoted:
            assert line[at + 1] == char, f"a lone {char} would be replaced"
            at += 1
        if char == '"':
            if quoted:
                yield word
            word, quoted = "", not quoted
        elif quoted:
            assert char >= " "
            word += char
        at += 1
    assert not quoted


@given(st.lists(WORDS, min_size=1))
def test_any_words_come_back_from_a_unit_file(words: list[str]) -> None:
    line = unit_quoting.command_line(words).replace(" \\\n  ", " ")

    assert list(words_of(line)) == words
    assert "\n" not in line


def test_nul_has_no_place_in_a_unit_file() -> None:
    with pytest.raises(ValueError, match="NUL"):
        unit_quoting.command_word("a\0b")


def test_a_dollar_means_itself_in_environment_and_a_variable_in_a_command() -> None:
    assert unit_quoting.environment_lines({"A": "$HOME 5%"}) == ['"A=$HOME 5%%"']
    assert unit_quoting.command_word("$HOME 5%") == '"$$HOME 5%%"'


@pytest.mark.parametrize("backend", ["cpu", "vulkan", "rocm"])
@pytest.mark.parametrize("simulated", [False, True])
def test_exposure_is_at_most_2(tmp_path: Path, backend: str, simulated: bool) -> None:
    """The exposure score of systemd-analyze security, in tenths."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "llama-server@chat.service"
    unit.write_text(
        template_file(backend_of(backend), simulated=simulated).content.replace(
            "Type=exec", "Type=exec\nExecStart=/bin/true"
        )
    )

    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


@pytest.mark.parametrize(
    ("backend", "simulated", "devices", "deny"),
    [
        ("cpu", False, [], "yes"),
        ("vulkan", False, ["char-drm"], "yes"),
        ("vulkan", True, ["char-drm"], "no"),
        ("rocm", False, ["char-drm", "char-kfd"], "no"),
    ],
)
def test_a_unit_sees_the_gpu_it_needs_and_no_other_device(
    backend: str, simulated: bool, devices: list[str], deny: str
) -> None:
    lines = template_file(backend_of(backend), simulated=simulated).content.splitlines()

    assert [line for line in lines if line.startswith("DeviceAllow=")] == [
        f"DeviceAllow={device} rw" for device in devices
    ]
    assert f"PrivateDevices={'no' if devices else 'yes'}" in lines
    assert "DevicePolicy=closed" in lines
    assert f"MemoryDenyWriteExecute={deny}" in lines
    groups = "strixfleet render video" if devices else "strixfleet"
    assert f"SupplementaryGroups={groups}" in lines


def test_every_instance_has_an_account_of_its_own() -> None:
    names = ["chat", "chat.2", "build", "x" * 60, "x" * 61]
    accounts = [server_unit.account(name) for name in names]
    assert len(set(accounts)) == len(names)
    assert all(re.fullmatch(r"llama-[a-z0-9_-]{1,25}", one) for one in accounts)
    assert "User=llama-chat\n" in drop_in({})
    assert "DynamicUser=yes" in compiled({}).template.content


def test_a_gpu_is_named_so_that_a_missing_one_fails_instead_of_running_on_the_cpu() -> None:
    assert '"--device" "Vulkan0"' in drop_in({}, llama_cpp_backend="vulkan")
    assert '"--device" "ROCm0"' in drop_in({}, llama_cpp_backend="rocm")
    assert "--device" not in drop_in({}, llama_cpp_backend="cpu")


def test_beside_another_card_a_server_is_told_which_to_take() -> None:
    twins = replace(CORES, gpu_id="1002:1586", gpu_number=1, other_gpus=("1002:745e at card0",))
    vulkan = drop_in({}, facts=twins, llama_cpp_backend="vulkan")
    assert 'Environment="MESA_VK_DEVICE_SELECT=1002:1586!"' in vulkan
    assert '"--device" "Vulkan0"' in vulkan
    rocm = drop_in({}, facts=twins, llama_cpp_backend="rocm")
    assert 'Environment="ROCR_VISIBLE_DEVICES=1"' in rocm
    assert "VISIBLE" not in drop_in({}, facts=twins, llama_cpp_backend="cpu")
    assert "DEVICE_SELECT" not in drop_in({}, llama_cpp_backend="vulkan")


@pytest.mark.parametrize("named", [{"device": "Vulkan1"}, {"arguments": {"device": "Vulkan1"}}])
def test_an_instance_may_name_another_device_and_then_sees_all(named: dict[str, Any]) -> None:
    text = drop_in(
        named,
        facts=replace(CORES, gpu_id="1002:1586", other_gpus=("1002:745e at card0",)),
        llama_cpp_backend="vulkan",
    )
    assert '"--device" "Vulkan1"' in text
    assert "DEVICE_SELECT" not in text


def test_rocm_loads_without_mmap_in_the_spelling_of_any_release() -> None:
    text = drop_in({}, llama_cpp_backend="rocm")

    assert 'Environment="LLAMA_ARG_LOAD_MODE=none"' in text
    assert 'Environment="LLAMA_ARG_NO_MMAP=1"' in text
    assert "LOAD_MODE" not in drop_in({}, llama_cpp_backend="vulkan")


def test_what_releases_spell_differently_is_named_by_a_variable_and_nothing_else_changes() -> None:
    plain, renamed = (
        compiled({"arguments": {"jinja": None}}),
        compiled({"arguments": {"no-mmap": None, "draft-max": "16", "jinja": None}}),
    )
    before, after = (state.units[0].drop_in.content for state in (plain, renamed))
    same = [line for line in before.splitlines() if "STRIXFLEET_CONFIG" not in line]
    more = [line for line in after.splitlines() if line not in same and "STRIXFLEET_CONFIG" not in line]

    assert "STRIXFLEET_OPTION" not in before
    assert "EnvironmentFile" not in before
    assert more == [
        '  "--jinja" \\',
        "  $STRIXFLEET_OPTION_NO_MMAP \\",
        '  $STRIXFLEET_OPTION_DRAFT_MAX "16"',
        *[line for line in more if line.startswith("# Releases spell these differently")],
        'Environment="STRIXFLEET_OPTION_NO_MMAP=--no-mmap"',
        'Environment="STRIXFLEET_OPTION_DRAFT_MAX=--draft-max"',
        "EnvironmentFile=-/opt/strixfleet/llama.cpp/current/options",
    ]
    assert (plain.renamed, renamed.renamed) == (False, True)


def test_a_key_stands_behind_a_variable() -> None:
    text = drop_in({"api_key": "key", "arguments": {"no-mmap": None}})
    assert '  $STRIXFLEET_OPTION_NO_MMAP \\\n  "--api-key-file" "%d/api-key"' in text


@pytest.mark.parametrize(
    ("arguments", "backend", "cores", "expected"),
    [
        ({}, "cpu", 16, "16"),
        ({}, "vulkan", 16, None),
        ({"threads": "8"}, "vulkan", 16, "8"),
        ({"threads": "64"}, "cpu", 16, "16"),
        ({"threads": "64"}, "cpu", 0, "64"),
        ({"threads": "-1"}, "cpu", 16, "-1"),
    ],
)
def test_threads_are_never_more_than_cores(
    arguments: dict[str, str], backend: str, cores: int, expected: str | None
) -> None:
    text = drop_in({"arguments": arguments}, llama_cpp_backend=backend, facts=Facts(physical_cores=cores))

    assert (f'"--threads" "{expected}"' in text) if expected else ("--threads" not in text)


def test_prompts_of_others_are_shown_only_to_who_asks_for_it() -> None:
    """S3."""
    assert '"--no-slots"' in drop_in({})
    wished = drop_in({"arguments": {"slots": None}})
    assert '"--slots"' in wished
    assert "no-slots" not in wished


def test_a_key_is_nowhere_but_in_its_file() -> None:
    state = compiled({"api_key": "planted-key"})
    unit = state.units[0]

    assert unit.key is not None
    assert (unit.key.content, unit.key.mode, unit.key.owner) == ("planted-key\n", "0600", "root")
    wants = repr([(thing.id, thing.want, thing.stated) for thing in state.things])
    assert "planted-key" not in unit.drop_in.content + wants + repr(list(unit.deeds(NOTHING)))
    assert unit.key.sha256 not in wants
    assert "LoadCredential=api-key:/etc/strixfleet/keys/chat" in unit.drop_in.content
    assert '"--api-key-file" "%d/api-key"' in unit.drop_in.content


CHANGES: list[dict[str, Any]] = [
    {"api_key": "other"},
    {"context_size": 4096},
    {"port": 8081},
    {"arguments": {"parallel": "2"}},
    {"environment": {"RADV_PERFTEST": "nogttspill"}},
    {"draft_model": "small"},
    {"model": "small"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_whatever_a_server_is_started_with_changes_its_digest(change: dict[str, Any]) -> None:
    before = compiled({"api_key": "key"}).units[0].config

    assert compiled({"api_key": "key", **change}).units[0].config != before
    assert compiled({"api_key": "key"}).units[0].config == before


def test_another_digest_of_the_model_or_another_template_changes_the_digest_too() -> None:
    before = compiled({}).units[0].config

    assert compiled({}, llama_models=[MODELS[0] | {"sha256": "c" * 64}]).units[0].config != before
    assert compiled({}, llama_cpp_backend="cpu", facts=Facts()).units[0].config != before


def test_a_model_in_a_home_is_bound_into_the_unit_alone() -> None:
    text = drop_in({"model": "small"})

    assert "ProtectHome=tmpfs" in text
    assert 'BindReadOnlyPaths="/home/me/small model.gguf"' in text
    assert "ProtectHome" not in drop_in({})


TAILSCALE = '{"Self": {"TailscaleIPs": ["fd7a:115c:a1e0::1", "100.101.102.103"]}}'


def test_a_tailnet_server_listens_there_once_the_host_has_an_address() -> None:
    answers = Answers({Question(Ask.RUN, "tailscale"): Answer(TAILSCALE)})
    joined = compiled({"host": "tailnet"}, answers=answers)
    alone = compiled({"host": "tailnet"})

    assert joined.units[0].listeners == ("127.0.0.1:8080", "100.101.102.103:8080")
    assert '"--host" \\\n  $STRIXFLEET_OPTION_HOST' in joined.units[0].drop_in.content
    assert '"STRIXFLEET_OPTION_HOST=127.0.0.1,100.101.102.103"' in joined.units[0].drop_in.content
    assert joined.units[0].renamed
    assert "STRIXFLEET_OPTION_HOST" not in alone.units[0].drop_in.content
    assert alone.units[0].listeners == ("127.0.0.1:8080",)
    assert alone.units[0].waits_for_tailnet


def manifest(backend: str, commit: str = "c") -> str:
    text = {"id": "b", "ref": "b", "commit": commit, "backend": backend, "build_number": 1}
    return json.dumps({**text, "definitions": {}, "files": {"bin/llama-server": "0"}})


def current(backend: str, options: str = "") -> Answers:
    return Answers(
        {
            Question(Ask.RUN, "tailscale"): Answer(TAILSCALE),
            MANIFEST: Answer(manifest(backend)),
            Question(Ask.READ, server_unit.OPTIONS_FILE): Answer(options),
        }
    )


@pytest.mark.parametrize(("options", "serves"), [(ONE_HOST, False), ("", True)])
def test_a_build_that_takes_one_address_serves_loopback_and_that_is_said(options: str, serves: bool) -> None:
    answers = current("cpu", options)
    found = compiled({"host": "tailnet"}, answers=answers)
    rows = found.rows

    assert ("100.101.102.103:8080" in found.units[0].listeners) is serves
    assert ("llama_server:chat:tailnet" in rows) is not serves
    assert serves or rows["llama_server:chat:tailnet"].cure is Cure.MANUAL


def test_units_are_for_the_build_that_is_current_until_another_is() -> None:
    """`provision` keeps a build of another backend: a unit for the wished one would not start."""
    kept = compiled({}, answers=current("cpu"), llama_cpp_backend="vulkan")
    bare = compiled({}, llama_cpp_backend="vulkan")

    assert "Vulkan0" not in kept.units[0].drop_in.content
    assert "PrivateDevices=yes" in kept.template.content
    assert "Vulkan0" in bare.units[0].drop_in.content


@pytest.mark.parametrize(
    ("host", "address", "url"),
    [
        ("localhost", "127.0.0.1", "http://127.0.0.1:9000"),
        ("::1", "::1", "http://[::1]:9000"),
        ("100.64.1.2", "100.64.1.2", "http://100.64.1.2:9000"),
    ],
)
def test_where_a_server_is_asked(host: str, address: str, url: str) -> None:
    where = server_command.listening(Instance(name="x", model="m", port=9000, host=host))

    assert where.addresses == (address,)
    assert where.url == url


def test_a_process_that_is_not_the_current_build_is_said() -> None:
    build = "/opt/strixfleet/llama.cpp/one/bin/llama-server"
    answers = Answers(
        {
            CURRENT: Answer("/opt/strixfleet/llama.cpp/one"),
            MANIFEST: Answer(manifest("cpu", "0c1e57098bba43ac")),
        }
    )

    def found(exe: str | None, build_info: str = "b2-0c1e570") -> str:
        return server_unit.build_of({"exe": exe}, {"body": {"build_info": build_info}}, answers)

    assert found(build) == "current"
    assert found(build, "b2-badc0de") == f"{build}, which calls itself b2-badc0de"
    assert found(f"{build} (deleted)") == f"{build} (deleted)"
    assert found(None) == "nothing"
    assert server_unit.build_of({"exe": build}, None, Answers({})).endswith("there is no current build")
