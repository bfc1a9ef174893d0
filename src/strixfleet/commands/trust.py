"""`strixfleet trust`: show and enrol host keys in the fleet's own known_hosts."""

import json
from dataclasses import dataclass
from pathlib import Path

import click

from strixfleet.errors import ExitCode, FleetError, HostKeyError, worst
from strixfleet.findings.results import HostReport
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.progress import say
from strixfleet.fleet.session import load_fleet, said_yes
from strixfleet.hosts.fan_out import fan_out
from strixfleet.hosts.host_keys import HostKey, enrol, enrolled, offered
from strixfleet.inventory.schema.fleet_model import Fleet, Host
from strixfleet.on_host.questions import Json
from strixfleet.report.output import medium, write


@dataclass(frozen=True, slots=True)
class Offer:
    """
    The keys that a host offers; `state` compares them with the enrolled ones: known, new or changed.

    A host that knows more kinds than are enrolled is known, too: ssh is content with one.
    """

    state: str
    keys: frozenset[HostKey]
    enrolled: frozenset[HostKey] = frozenset()

    @property
    def left_out(self) -> tuple[HostKey, ...]:
        """Return the keys of a known host that are shown and not enrolled."""
        return tuple(sorted(self.keys - self.enrolled)) if self.state == "known" else ()

    @property
    def dropped(self) -> tuple[HostKey, ...]:
        """Return the enrolled keys of kinds that are not shown any more: enrolling anew removes them."""
        kinds = {key.kind for key in self.keys}
        return tuple(sorted(key for key in self.enrolled if key.kind not in kinds))


def _state(known: frozenset[HostKey], shown: frozenset[HostKey]) -> str:
    if not known:
        return "new"
    kinds = {key.kind for key in known}
    alike = {key for key in shown if key.kind in kinds}  # behind a jump host only one of the keys can be read
    return "known" if alike and alike <= known else "changed"


def _all_offered(host: Host) -> frozenset[HostKey]:
    """
    Ask twice: a busy host answers for some kinds of key only, and what is shown is what is enrolled.

    Two keys of one kind are two machines, or someone in between.
    """
    shown = offered(host) | offered(host)
    if len({key.kind for key in shown}) < len(shown):
        raise HostKeyError(
            "showed two different keys of one kind within a moment",
            where=host.name,
            hint="check the address: two machines, or someone between you and the host, answer there",
        )
    return shown


def _look(fleet: Fleet, forks: int) -> dict[str, Offer | FleetError]:
    def one(name: str) -> Offer:
        host = fleet.host(name)
        known, shown = enrolled(Path(fleet.known_hosts), host.connection), _all_offered(host)
        return Offer(_state(known, shown), shown, known)

    hosts = (host for host in fleet.hosts if not host.connection.local)
    return fan_out(hosts, lambda host: one(host.name), forks=forks)


def _lines(offers: dict[str, Offer | FleetError]) -> str:
    lines = []
    for name, offer in offers.items():
        if isinstance(offer, FleetError):
            lines.append(str(offer))
            continue
        lines.append(f"{name}: {offer.state}")
        for key in sorted(offer.keys):
            note = "  (not enrolled: another key is; --replace enrols all)" if key in offer.left_out else ""
            lines.append(f"  {key.kind:<20} {key.fingerprint}{note}")
    return "\n".join(lines)


def _json(offers: dict[str, Offer | FleetError], code: ExitCode) -> str:
    hosts: dict[str, Json] = {}
    for name, offer in offers.items():
        if isinstance(offer, FleetError):
            hosts[name] = HostReport.of_error(name, offer).to_json("trust")
        else:
            keys: list[Json] = [{"type": k.kind, "fingerprint": k.fingerprint} for k in sorted(offer.keys)]
            hosts[name] = {"reachable": True, "state": offer.state, "keys": keys}
    document = {"schema": "strixfleet/trust/1", "exit_code": int(code), "hosts": hosts}
    return json.dumps(document, indent=2)


@click.command()
@fleet_options
@click.option("--yes", is_flag=True, help="Enrol new keys without asking.")
@click.option(
    "--replace",
    is_flag=True,
    help="Also enrol changed keys, and all keys of known hosts. Use it only after you reinstalled a host.",
)
def trust(options: Options, *, yes: bool, replace: bool) -> ExitCode:
    """
    Show the keys that hosts offer and enrol them in the fleet's own known_hosts.

    Compare the fingerprints with the host's console (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`)
    before you say yes. Every other verb refuses a host whose key is unknown or changed.
    """
    fleet = load_fleet(options)
    offers = _look(fleet, options.forks)
    answered = {name: offer for name, offer in offers.items() if isinstance(offer, Offer)}
    wanted = {"new", "changed"} if replace else {"new"}
    chosen = {
        name: offer
        for name, offer in answered.items()
        if offer.state in wanted or (replace and offer.left_out)
    }
    refused = [name for name, offer in answered.items() if offer.state == "changed" and not replace]
    lost = [offer.exit_code for offer in offers.values() if isinstance(offer, FleetError)]
    code = worst(*lost, ExitCode.UNREACHABLE if refused else ExitCode.OK)
    click.echo(_lines(offers), err=options.as_json or options.output is not None)
    if chosen and (yes or said_yes(f"Enrol the keys of {', '.join(chosen)}?")):
        for name, offer in chosen.items():
            enrol(Path(fleet.known_hosts), fleet.host(name).connection, offer.keys)
            kinds = ", ".join(key.kind for key in sorted(offer.keys))
            say(f"{name}: enrolled {kinds} in {fleet.known_hosts}")
            for key in offer.dropped:
                say(f"{name}: no longer enrolled: {key.kind}, which the host does not show any more")
    elif chosen:
        say("no key was enrolled")
        code = worst(code, ExitCode.ATTENTION)
    for name in refused:
        say(f"{name}: the host key is not the enrolled one; hint: find out why, then use --replace")
    if options.output:
        as_json = medium(options.output, as_json=options.as_json) == "json"
        write(options.output, (_json(offers, code) if as_json else _lines(offers)) + "\n")
    elif options.as_json:
        click.echo(_json(offers, code))
    return code
