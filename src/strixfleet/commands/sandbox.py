"""`strixfleet sandbox create|list|destroy`: disposable systemd hosts on this machine, with an inventory."""

import json
from typing import TypedDict

import click

from strixfleet.inventory.hardware import BOXES
from strixfleet.sandbox import lifecycle as sandboxes
from strixfleet.sandbox import sandbox_state
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest


BOX_NAMES = [box.name for box in BOXES]


class Entry(TypedDict):
    """One sandbox in the list."""

    name: str
    box: str
    inventory: str
    hosts: dict[str, dict[str, object]]


@click.group()
def sandbox() -> None:
    """Create disposable Debian hosts on this machine that simulate a box's hardware (needs root)."""


@sandbox.command()
@click.option("--hosts", default=1, show_default=True, help="Number of hosts.")
@click.option(
    "--name", default="sandbox", show_default=True, help="Name of the sandbox; its hosts are NAME-1, NAME-2 …"
)
@click.option("--box", type=click.Choice(BOX_NAMES), default=BOX_NAMES[0], show_default=True)
@click.option("--memory", "memory_gib", type=click.IntRange(8, 1024), help="Simulated memory in GiB.")
def create(hosts: int, name: str, box: str, memory_gib: int | None) -> None:
    """Create a sandbox and write its inventory."""
    request = SandboxRequest(name=name, hosts=hosts, box=box, memory_gib=memory_gib)
    made = sandboxes.create(request, _say)
    click.echo(made.inventory)
    for line in _next_steps(made):
        click.echo(f"  {line}")


@sandbox.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_(as_json: bool) -> None:
    """Show the sandboxes on this machine."""
    entries = [_entry(name) for name in sandbox_state.names()]
    if as_json:
        hosts = {name: facts for entry in entries for name, facts in entry["hosts"].items()}
        head = {"schema": "strixfleet/sandbox/1", "exit_code": 0}
        click.echo(json.dumps({**head, "hosts": hosts, "sandboxes": entries}, indent=2))
        return
    if not entries:
        _say("there is no sandbox on this machine; `strixfleet sandbox create` makes one")
    for entry in entries:
        click.echo(f"{entry['name']}: simulates {entry['box']}, inventory {entry['inventory']}")
        for name, facts in entry["hosts"].items():
            click.echo(f"  {name}  {facts['address']}  {'running' if facts['reachable'] else 'stopped'}")


@sandbox.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Remove every sandbox on this machine.")
def destroy(name: str | None, everything: bool) -> None:
    """Remove a sandbox and everything it left on this machine; NAME may be left out if there is only one."""
    for one in _chosen(name, everything=everything):
        _say(f"{one}: removed" if sandboxes.destroy(one) else f"{one}: there is no such sandbox")


def _chosen(name: str | None, *, everything: bool) -> list[str]:
    present = sandbox_state.names()
    if everything or (name is None and len(present) <= 1):
        return present
    if name is None:
        raise click.UsageError(
            f"there are several sandboxes: name one of {', '.join(present)}, or give --all"
        )
    return [name]


def _entry(name: str) -> Entry:
    made = sandbox_state.read_record(name)
    hosts: dict[str, dict[str, object]] = {
        host.name: {"reachable": sandboxes.is_running(host), "address": host.address}
        for host in (made.hosts if made else ())
    }
    inventory = str(made.inventory) if made else ""
    return {"name": name, "box": made.box if made else "", "inventory": inventory, "hosts": hosts}


def _next_steps(made: Sandbox) -> list[str]:
    return [
        f"ssh -F {made.ssh_config} {made.hosts[0].name}",
        f"strixfleet provision -i {made.inventory}",
        f"strixfleet audit -i {made.inventory}",
        f"strixfleet sandbox destroy {made.name}",
    ]


def _say(text: str) -> None:
    click.echo(text, err=True)
