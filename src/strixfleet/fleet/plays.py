"""Run a playbook on hosts that were probed, with the operator's flags, and show how it goes."""

from collections.abc import Mapping
from typing import Any

from strixfleet.fleet.build_watch import BuildWatch
from strixfleet.fleet.options import Options
from strixfleet.fleet.play_progress import PlayProgress
from strixfleet.fleet.session import ProbedHost
from strixfleet.hosts.connections import Connections
from strixfleet.inventory.schema.fleet_model import Fleet
from strixfleet.tools.ansible_playbook import HostOutcome, PlayRequest, play


def play_on(
    probed: Mapping[str, ProbedHost],
    playbook: str,
    fleet: Fleet,
    options: Options,
    connections: Connections,
    **more: Any,  # noqa: ANN401 - other fields of PlayRequest
) -> dict[str, HostOutcome]:
    """Run a playbook on these hosts and return the outcome of each."""
    become = next((host.connection.become_password for host in fleet.hosts), None)
    request = PlayRequest(
        playbook,
        fleet.source,
        ",".join(probed),
        fleet.known_hosts,
        extra_vars=options.extra_vars,
        forks=options.forks,
        verbose=options.verbose,
        become_password=become.get_secret_value() if become and options.ask_become_pass else None,
        vault_password_files=options.vault_password_file,
        ask_vault_pass=options.ask_vault_pass,
        **more,
    )
    return play(request, BuildWatch(fleet, connections, probed, PlayProgress(verbose=options.verbose)))
