"""`strixfleet bench`: measure each host through its installed build, and judge what was measured."""

import click

from strixfleet.errors import ExitCode
from strixfleet.fleet.options import Options, fleet_options
from strixfleet.fleet.progress import step
from strixfleet.fleet.session import ProbedHost, finish, host_report, load_fleet, look_at_all, now
from strixfleet.report.output import show
from strixfleet.speed.bench_all import measure_all


@click.command()
@fleet_options
@click.option("-a", "--all", "everything", is_flag=True, help="Measure the models of all instances.")
@click.option("--against-cpu", is_flag=True, help="Also measure without the GPU, and say what it is worth.")
def bench(options: Options, *, everything: bool, against_cpu: bool) -> ExitCode:
    """
    Run the smoke benchmark and judge it against what the host should reach.

    Measures `smoke_bench.model`, or the first instance's: llama-bench for prefill and decode, then requests
    to the running server. Exit code 1 when a verdict is not ok.
    """
    started = now()
    fleet = load_fleet(options)
    step(f"looking at {len(fleet.hosts)} host(s)")
    seen = look_at_all(fleet, fleet.hosts, options.forks)
    good = sum(isinstance(one, ProbedHost) for one in seen.values())
    if good:
        step(f"measuring {good} host(s); this takes a minute or more")
    measured = measure_all(fleet, seen, forks=options.forks, everything=everything, cpu=against_cpu)
    hosts = (measured.get(name) or host_report(name, one) for name, one in seen.items())
    report = finish("bench", started, hosts)
    show(report, as_json=options.as_json, output=options.output)
    return report.exit_code
