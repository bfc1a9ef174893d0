"""`strixfleet demo`: provision a disposable host on this machine, with a real build and a real server."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import click
import platformdirs

from strixfleet.commands.provision import Consent, run_provision
from strixfleet.commands.report import write_page
from strixfleet.errors import ExitCode
from strixfleet.findings.results import Report
from strixfleet.fleet.options import Options
from strixfleet.fleet.progress import step
from strixfleet.inventory.schema.settings import LLAMA_CPP_REPOSITORY
from strixfleet.report.output import show
from strixfleet.sandbox import lifecycle
from strixfleet.sandbox.boxes import Sandbox, SandboxRequest
from strixfleet.sandbox.gguf_writer import write_random_llama
from strixfleet.sandbox.llama_source import imported_once
from strixfleet.tools.git import resolve, upstream_answers


NAME = "demo"
PORT = 8080
UPSTREAM_COMMIT = "0c1e57098bba43ac29e6e3b677cdceebdd22334f"  # the tree in llama-cpp-python 0.3.36
MEASURED_AGAIN = 3  # other work on this machine may disturb the measurement
MODEL_BYTES = 400_000_000  # several times the last-level cache, so that decode reads memory


@dataclass(frozen=True, slots=True)
class Source:
    """Where llama.cpp comes from, and which commit of it."""

    repository: str
    ref: str
    words: str


def _source() -> Source:
    step("llama.cpp: trying upstream git")
    if upstream_answers(LLAMA_CPP_REPOSITORY):
        return Source(LLAMA_CPP_REPOSITORY, UPSTREAM_COMMIT, "upstream git")
    step("upstream git cannot be reached: importing the source tree of a llama-cpp-python release")
    repository, tag = imported_once()
    step(
        f"imported as {tag}, commit {resolve(repository, tag).commit}; upstream commit {UPSTREAM_COMMIT[:12]}"
    )
    return Source(str(repository), tag, f"{tag} from a source distribution")


def last_level_cache_bytes() -> int:
    """Return the size of this machine's largest cache from sysfs; 0 if it is not known."""
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("*/size")]
    factors = {"K": 1024, "M": 1024**2}
    return max(
        (int(text[:-1]) * factors.get(text[-1], 1) for text in sizes if text[:-1].isdigit()), default=0
    )


def _model() -> tuple[Path, str]:
    """Write a random-weight model larger than the last-level cache, once; return its path and digest."""
    size = max(MODEL_BYTES, 4 * last_level_cache_bytes())
    path = platformdirs.user_cache_path("strixfleet") / "models" / f"demo-{size // 10**6}.gguf"
    if not path.exists():
        step(f"writing a random-weight model of {size // 10**6} MB")
        path.parent.mkdir(parents=True, exist_ok=True)
        spare = path.with_suffix(f".{os.getpid()}")
        write_random_llama(spare, size_bytes_at_least=size, name="strixfleet demo")
        spare.replace(path)
    with path.open("rb") as file:
        return path, hashlib.file_digest(file, "sha256").hexdigest()


def demo_settings(source: Source, model: Path, digest: str, address: str) -> dict[str, object]:
    """Return the variables of the demo's host, as a user would write them."""
    return {
        "llama_cpp_repository": source.repository,
        "llama_cpp_ref": source.ref,
        "llama_cpp_backend": "cpu",
        "llama_models": [{"name": "demo", "path": str(model), "sha256": digest}],
        "llama_server_instances": [
            {"name": "demo", "model": "demo", "host": address, "port": PORT, "context_size": 2048}
        ],
        "smoke_bench": {"prompt_tokens": 128, "generate_tokens": 32, "repetitions": 3},
    }


def _host(source: Source) -> Sandbox:
    if lifecycle.destroy(NAME):
        step("removed the host of the last demo")
    model, digest = _model()
    step("creating a disposable host: a bare Debian 13 with systemd and sshd")
    made = lifecycle.create(SandboxRequest(name=NAME, hosts=1), step)
    settings = demo_settings(source, model, digest, made.hosts[0].address)
    variables = made.inventory / "group_vars" / "all.yml"
    variables.parent.mkdir(exist_ok=True)
    # JSON with a comment is read as YAML, which gives the line of each setting.
    text = f"# The variables of the demo's host.\n{json.dumps(settings, indent=2)}\n"
    variables.write_text(text, encoding="utf-8")
    return made


def _disturbed(report: Report) -> bool:
    """Tell whether the only problem is a benchmark that other work disturbed."""
    grades = {row.grade for host in report.hosts for row in host.verdicts}
    return report.exit_code is ExitCode.ATTENTION and grades <= {"ok", "invalid", "unstable"}


def _closing(made: Sandbox, source: Source, page: Path) -> str:
    url = f"http://{made.hosts[0].address}:{PORT}"
    return f"""
What happened
  A bare Debian host now runs a verified llama-server: kernel arguments checked after a reboot,
  llama.cpp ({source.words}) built from source, a hardened systemd unit, speed judged, audit clean.
  The GPU and the firmware of this host are simulated. The build, the server and the speed of the
  CPU backend are real.

Report     {page}
Try it     curl {url}/completion -d '{{"prompt": "Hello", "n_predict": 16}}'
Audit      strixfleet audit -i {made.inventory}
Log in     ssh -F {made.ssh_config} {made.hosts[0].name}
Remove     strixfleet sandbox destroy {NAME}

Your own box
  strixfleet init fleet && $EDITOR fleet/hosts.yml
  strixfleet validate -i fleet
  strixfleet trust -i fleet
  strixfleet provision -i fleet --reboot ask
"""


@click.command()
def demo() -> ExitCode:
    """
    Provision a disposable host on this machine from a bare OS to a verified llama-server.

    The host stays until `strixfleet sandbox destroy demo`.
    """
    source = _source()
    made = _host(source)
    options = Options(inventory=(str(made.inventory),))
    consent = Consent(yes=True, check=False, diff=False, reboot="auto")
    report = run_provision(options, consent)
    for _ in range(MEASURED_AGAIN):
        if not _disturbed(report):
            break
        step("other work disturbed the benchmark: measuring again")
        report = run_provision(options, consent)
    page = write_page(hosts=tuple(host.name for host in made.hosts))
    show(report)
    if report.exit_code is ExitCode.OK:
        click.echo(_closing(made, source, page))
    else:
        click.echo(
            f"\nReport: {page}\nThe host was kept for a look: ssh -F {made.ssh_config} {made.hosts[0].name}"
        )
    return report.exit_code
