"""`strixfleet bench`: measure each host with its installed build, and judge the results."""

import click

from strixfleet.errors import ExitCode
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.progress import step
from strixfleet.fleet.session import ProbedHost, conclude, finish, host_report, load_fleet, look_at_all, now
from strixfleet.speed.bench_all import measure_all


@click.command()
@fleet_options
@click.option("-a", "--all", "everything", is_flag=True, help="Measure the models of all instances.")
@click.option("--against-cpu", is_flag=True, help="Also measure on the CPU, and compare.")
def bench(options: Options, *, everything: bool, against_cpu: bool) -> ExitCode:
    """
    Run the smoke benchmark and judge it by the expected speed of the host.

    Measures `smoke_bench.model`, or the model of the first instance: llama-bench for prefill and decode,
    then requests to the running server. Exit code 1 if a verdict is not ok.
    """
    started = now()
    fleet = load_fleet(options)
    step(f"reading the state of {len(fleet.hosts)} host(s)")
    probed = look_at_all(fleet, fleet.hosts, options.forks)
    reached = sum(isinstance(one, ProbedHost) for one in probed.values())
    if reached:
        step(f"measuring {reached} host(s); this takes a minute or more")
    measured = measure_all(fleet, probed, forks=options.forks, everything=everything, cpu=against_cpu)
    hosts = (measured.get(name) or host_report(name, one) for name, one in probed.items())
    return conclude(finish("bench", started, hosts), options)
