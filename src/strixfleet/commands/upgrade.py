"""`strixfleet upgrade`: roll hosts to the pinned build; a build that fails its gate is returned."""

from typing import Any

import click

from strixfleet.errors import ExitCode
from strixfleet.fleet.options import FiniteRange, Options, change_options, fleet_options
from strixfleet.fleet.session import conclude
from strixfleet.rollout.upgrade import CANARY_SOAK_S, UpgradeRequest, run_upgrade


@click.command()
@fleet_options
@change_options
@click.option("--to", metavar="REF", help="Upgrade to this ref, and write it into the inventory at the end.")
@click.option("--canary", metavar="HOST", help="Host that is upgraded first.")
@click.option("--batch", metavar="N|P%", help="Hosts per wave after the canary.")
@click.option("--max-failures", type=click.IntRange(0), help="Number of hosts that may fail before it halts.")
@click.option("--return-upgraded", is_flag=True, help="After a halt, roll back upgraded hosts, too.")
@click.option("--retry", is_flag=True, help="Try a ref that was returned or rolled back before.")
@click.option(
    "--soak",
    "soak_s",
    type=FiniteRange(0),
    default=CANARY_SOAK_S,
    show_default=True,
    help="Seconds that the canary's servers have to stay up.",
)
def upgrade(options: Options, **given: Any) -> ExitCode:  # noqa: ANN401 - the fields of UpgradeRequest
    """
    Roll hosts to the pinned build of llama.cpp: canary first, then batches.

    The build is made on all hosts while the current one serves. Each host is then switched on trial: unless
    its gate passes and it is confirmed over a new connection, it reverts by itself. If the canary fails, or
    more hosts than allowed, the rollout halts. Run the same command again to resume an interrupted rollout.
    """
    return conclude(run_upgrade(options, UpgradeRequest(**given)), options)
