"""On a real systemd: what a unit's process is told, and what it cannot do."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
systemctl daemon-reload
systemctl start llama-server@chat.service
"""
RESULT = "/var/cache/strixfleet/chat/result.json"
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
        victim = "Environment=VICTIM="
        for file in (template, unit.drop_in, unit.key):
            put(made, file)
        root(made, host, PREPARE.replace("systemctl daemon-reload", _name_victim(victim)))
        found = json.loads(root(made, host, WAIT))
        root(made, host, f"VICTIM=$(systemctl show -p MainPID --value victim) python3 {path}")
        found[CONTROL] = json.loads(root(made, host, "cat /root/result.json"))
        yield found
    finally:
        lifecycle.destroy(made.name)


def _name_victim(setting: str) -> str:
    folder = "/run/systemd/system/llama-server@chat.service.d"
    return (
        f'mkdir -p {folder}; echo "[Service]\n{setting}$(systemctl show -p MainPID --value victim)" '
        f"> {folder}/victim.conf; systemctl daemon-reload"
    )


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


def test_the_acts_are_possible_without_the_unit(taken_over: dict[str, Any]) -> None:
    """Without this the test above would prove nothing."""
    failed = [name for name, end in taken_over[CONTROL]["acts"].items() if end != "done"]

    assert failed == []


def test_what_a_server_needs_it_has(taken_over: dict[str, Any]) -> None:
    assert {name: end for name, end in taken_over["needs"].items() if end != "done"} == {}
