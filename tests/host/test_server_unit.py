"""On a real systemd: what a unit's process is told, and what it cannot do."""

import base64
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strixfleet.hosts.host_code import program_argv, read_data
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.llama_server.aspect import llama_server
from strixfleet.managed.llama_server.server_files import TEMPLATE
from strixfleet.managed.llama_server.server_unit import Server
from strixfleet.managed.machine import Machine
from strixfleet.managed.things.file import File
from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest
from tests.host.outside import root


pytestmark = pytest.mark.host

HOSTILE = {
    "alpha": "$HOME ${PATH} $$ %h %i %% %n",
    "beta": "\"quoted\" 'single' \\ \\n \\x41 back\\\\slash",
    "gamma": "; touch /tmp/owned # && | > < * ? ~ `id` $(id)",
    "delta": "",
    "epsilon": "ünï ☃ end ",
    "zeta": "-oProxyCommand=x",
}
CONTROL = "the same acts, as root and without the unit"
RUN = "the same acts, as the benchmark of the current build"
LEFT = "what is left of the benchmark"
VICTIMS = {"VICTIM": "victim", "SIBLING": "llama-server@other"}


def compiled() -> tuple[File, Server]:
    """Return the unit that all instances share, and the one instance."""
    settings = HostSettings.model_validate(
        {
            "llama_cpp_backend": "cpu",
            "llama_models": [{"name": "m", "url": "https://models.example/m.gguf", "sha256": "a" * 64}],
            "llama_server_instances": [
                {
                    "name": "chat",
                    "model": "m",
                    "port": 8080,
                    "api_key": "planted-key",
                    "arguments": HOSTILE,
                    "environment": {name.upper(): value for name, value in HOSTILE.items()},
                }
            ],
        }
    )
    things = tuple(llama_server(settings, Machine(physical_cores=2)))
    template = next(one for one in things if isinstance(one, File) and one.path == TEMPLATE)
    return template, next(one for one in things if isinstance(one, Server))


def put(made: Sandbox, file: File) -> None:
    packed = base64.b64encode(file.content.encode()).decode()
    name = made.hosts[0].name
    root(made, name, f"mkdir -p '{Path(file.path).parent}' && echo {packed} | base64 -d > '{file.path}'")
    root(made, name, f"chmod {file.mode} '{file.path}' && chown {file.owner}:{file.group} '{file.path}'")


PREPARE = """
set -e
for group in render video; do getent group $group >/dev/null || groupadd -r $group; done
id strixfleet >/dev/null 2>&1 || useradd -r -s /usr/sbin/nologin -d /var/lib/strixfleet strixfleet
mkdir -p /var/lib/strixfleet/models/m /etc/strixfleet/keys /root/.ssh
chmod 700 /etc/strixfleet/keys
echo other > /etc/strixfleet/keys/other; chmod 600 /etc/strixfleet/keys/other
echo GGUF > /var/lib/strixfleet/models/m/m.gguf; echo '{}' > /var/lib/strixfleet/models/m/.m.gguf.json
chmod 755 /opt/strixfleet/llama.cpp/one/bin/llama-server
ln -sfn one /opt/strixfleet/llama.cpp/current
systemd-run --quiet --unit=victim sleep infinity
mkdir -p /run/systemd/system/llama-server@other.service.d
cat > /run/systemd/system/llama-server@other.service.d/sleep.conf <<END
[Service]
User=llama-other
LoadCredential=api-key:/etc/strixfleet/keys/other
ExecStart=/bin/sleep infinity
END
systemctl daemon-reload
systemctl start llama-server@other.service
systemctl daemon-reload
systemctl start llama-server@chat.service
"""
RESULT = "/var/cache/strixfleet/servers/chat/result.json"
WAIT = f"""
for try in $(seq 200); do [ -e {RESULT} ] && exec cat {RESULT}; sleep 0.1; done
systemctl status --no-pager llama-server@chat; exit 1
"""


@pytest.fixture(scope="module")
def taken_over() -> Iterator[dict[str, Any]]:
    """Run the intruder in the unit, and without."""
    made = lifecycle.create(SandboxRequest(name=f"unit{os.getpid()}"), lambda _line: None)
    host = made.hosts[0].name
    try:
        template, unit = compiled()
        program = "#!/usr/bin/python3\n" + Path(__file__).with_name("intruder.py").read_text()
        path = "/opt/strixfleet/llama.cpp/one/bin/llama-server"
        put(made, File(id="a:program", path=path, source=program, mode="0755"))
        assert unit.key
        for file in (template, unit.drop_in, unit.key):
            put(made, file)
        first, again, rest = PREPARE.partition("systemctl start llama-server@other.service\n")
        root(made, host, first + again + _name_victims() + rest)
        found = json.loads(root(made, host, WAIT))
        pids = [
            root(made, host, f"systemctl show -p MainPID --value {one}").strip() for one in VICTIMS.values()
        ]
        victims = dict(zip(VICTIMS, pids, strict=True))
        words = " ".join(f"{name}={pid}" for name, pid in victims.items())
        root(made, host, f"{words} python3 {path}")
        found[CONTROL] = json.loads(root(made, host, "cat /root/result.json"))
        root(made, host, f"ln {path} {Path(path).with_name('llama-bench')}")
        found[RUN] = _run_as_benchmark(made, victims)
        found[LEFT] = root(made, host, "pgrep -f '[s]leep 98765' || echo nothing").strip()
        yield found
    finally:
        lifecycle.destroy(made.name)


def _name_victims() -> str:
    folder = "/run/systemd/system/llama-server@chat.service.d"
    rows = "\n".join(
        f"Environment={name}=$(systemctl show -p MainPID --value {unit})" for name, unit in VICTIMS.items()
    )
    return f'mkdir -p {folder}; echo "[Service]\n{rows}" > {folder}/victim.conf\n'


def _run_as_benchmark(made: Sandbox, victims: dict[str, str]) -> dict[str, Any]:
    """Have the host run the intruder as the benchmark of its current build."""
    request: dict[str, Any] = {
        "do": "program",
        "program": "llama-bench",
        "arguments": [],
        "timeout_s": 60,
        "environment": {**victims, "GGML_PRINT": "1"},
    }
    argv = program_argv("run_program", request)
    data = read_data(root(made, made.hosts[0].name, shlex.join(argv)), "", host="unit")
    assert data["exit_code"] == 0, data
    printed: dict[str, Any] = json.loads(data["stdout"])
    return printed


def test_arguments_arrive_as_they_were_written(taken_over: dict[str, Any]) -> None:
    """Nothing in a value is read by systemd or a shell."""
    argv = taken_over["argv"]

    got = {
        argv[at].removeprefix("--"): argv[at + 1] for at in range(len(argv) - 1) if argv[at].startswith("--")
    }

    assert {name: got[name] for name in HOSTILE} == HOSTILE
    assert argv[:2] == ["--model", "/var/lib/strixfleet/models/m/m.gguf"]
    assert argv[-2:] == ["--api-key-file", "/run/credentials/llama-server@chat.service/api-key"]


def test_the_environment_arrives_as_it_was_written(taken_over: dict[str, Any]) -> None:
    environment = taken_over["environment"]

    assert {name: environment[name.upper()] for name in HOSTILE} == HOSTILE
    assert environment["STRIXFLEET_CONFIG"] == compiled()[1].config
    assert "planted-key" not in json.dumps(environment) + json.dumps(taken_over["argv"])


def test_a_server_that_was_taken_over_can_do_none_of_it(taken_over: dict[str, Any]) -> None:
    """S1 and S12."""
    assert [name for name, end in taken_over["acts"].items() if end == "done"] == []


def test_a_hostile_benchmark_can_do_none_of_it_either(taken_over: dict[str, Any]) -> None:
    """Neither network nor keys nor another instance's memory, and no environment of a server's own."""
    run = taken_over[RUN]
    own = {"PATH", "LC_ALL", "HOME", "GGML_PRINT", *VICTIMS}

    assert [name for name, end in run["acts"].items() if end == "done"] == []
    assert {name for name in run["environment"] if name.startswith(("GGML_", "LLAMA_", "VK_"))} <= own
    assert own <= set(run["environment"])


def test_nothing_that_a_benchmark_starts_survives_it(taken_over: dict[str, Any]) -> None:
    assert taken_over[LEFT] == "nothing"


def test_the_acts_are_possible_without_the_unit(taken_over: dict[str, Any]) -> None:
    """Without this the test above would prove nothing."""
    failed = [name for name, end in taken_over[CONTROL]["acts"].items() if end != "done"]

    assert failed == []


def test_what_a_server_needs_it_has(taken_over: dict[str, Any]) -> None:
    assert {name: end for name, end in taken_over["needs"].items() if end != "done"} == {}
