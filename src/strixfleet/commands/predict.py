"""`strixfleet predict`: whether a model fits and how fast it will be, from its GGUF header alone."""

import json
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf, isinf
from pathlib import Path
from typing import Any

import click

from strixfleet.errors import ExitCode, UsageError
from strixfleet.findings.expectation import Expectation
from strixfleet.findings.verdict import BenchRun, Grade, Verdict, judge
from strixfleet.fleet.options import FiniteRange
from strixfleet.inventory.hardware import GIB, PROFILES
from strixfleet.report.output import emit, medium
from strixfleet.speed.expect.prediction import Prediction, Setting


_TYPICAL = {
    "strix-point": (89.6, 64),  # GB/s, GiB: two DDR5-5600 SO-DIMMs
    "sandbox": (40.0, 16),  # a small virtual machine
}


@dataclass(frozen=True, slots=True)
class _Memory:
    """Values given by flags, which replace those of the profile."""

    bandwidth_gb_s: float | None
    memory_gib: float | None
    gtt_gib: float | None
    carve_out_gib: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """Everything that is shown."""

    found: Prediction
    setting: Setting
    profile: str
    warnings: tuple[str, ...]
    claim: Verdict | None


@click.command()
@click.argument("model", metavar="MODEL.gguf", type=click.Path(path_type=Path))
@click.option("--profile", required=True, type=click.Choice(list(PROFILES)), help="Hardware profile.")
@click.option(
    "--backend",
    required=True,
    type=click.Choice(["vulkan", "rocm", "cpu"]),
    help="vulkan is Mesa's RADV driver.",
)
@click.option(
    "--context",
    default=4096,
    show_default=True,
    type=click.IntRange(1, 2**24),
    help="Context size in tokens, for the KV cache.",
)
@click.option(
    "--depth",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**24),
    help="Tokens in the context when decoding starts.",
)
@click.option(
    "--bandwidth", type=FiniteRange(1, 10_000), metavar="GB/S", help="Theoretical memory bandwidth."
)
@click.option("--memory", type=FiniteRange(1, 4096), metavar="GIB", help="Installed memory.")
@click.option("--gtt", type=FiniteRange(0, 4096), metavar="GIB", help="GPU-addressable memory.")
@click.option(
    "--carve-out",
    default=0.0,
    type=FiniteRange(0, 4096),
    metavar="GIB",
    help="Memory reserved for the GPU by the firmware.",
)
@click.option(
    "--claim", type=FiniteRange(min=0, min_open=True), metavar="TPS", help="Judge this claimed decode speed."
)
@click.option(
    "--speculation", is_flag=True, help="The claimed speed was reached with a draft model or drafted tokens."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write results to FILE.")
def predict(
    model: Path,
    profile: str,
    backend: str,
    context: int,
    depth: int,
    *,
    claim: float | None,
    speculation: bool,
    as_json: bool,
    output: Path | None,
    **memory: float | None,
) -> ExitCode:
    """
    Predict from the header of MODEL.gguf whether it fits in memory, and its speed.

    Needs no host and reads no tensor data. The speed is what llama-bench would show for tg128. Below the
    floor, `bench` calls a host slow; no host can exceed the ceiling. Exit code 1, and no speed: the model
    does not fit.
    """
    from strixfleet.speed.expect import prediction
    from strixfleet.speed.expect.reference_data import library
    from strixfleet.speed.model.gguf_header import read_header
    from strixfleet.speed.model.model_shape import shape_of

    if output and medium(output, as_json=False) == "html":
        raise UsageError("predict writes text or JSON", where=str(output), hint="use .txt or .json")
    if re.match(r"https?:/", str(model)):
        raise UsageError("predict needs a local file, not a URL", where=str(model), hint="download it first")
    given = _Memory(memory["bandwidth"], memory["memory"], memory["gtt"], memory["carve_out"] or 0.0)
    setting, assumed = _setting(profile, backend, given, (context, depth))
    header = read_header(model)
    found = prediction.predict(shape_of(header), setting, library())
    warnings = [*assumed, *found.notes]
    if header.missing_bytes:
        missing = f"{header.missing_bytes / GIB:.1f} GiB"
        warnings.append(f"the file lacks {missing} of data: it is only a header, or an incomplete download")
    verdict = _judged(found, backend, claim, speculated=speculation)
    answer = _Answer(found, setting, profile, tuple(warnings), verdict)
    wants_json = medium(output, as_json=as_json) == "json"
    text = json.dumps(_document(answer), indent=2) if wants_json else _in_words(answer)
    emit(f"{text}\n", output)
    return _exit_code(found)


def _exit_code(found: Prediction) -> ExitCode:
    return ExitCode.OK if found.memory.fits else ExitCode.ATTENTION


def _setting(
    profile: str, backend: str, given: _Memory, tokens: tuple[int, int]
) -> tuple[Setting, list[str]]:
    """Take from the profile what no flag gives; list what had to be assumed."""
    from strixfleet.speed.expect.roofline import Machine
    from strixfleet.speed.expect.roofline_costs import HALO_GB_S

    known, assumed = PROFILES[profile], []
    bandwidth = given.bandwidth_gb_s or known.bandwidth_gb_s
    memory = given.memory_gib or known.memory_gib
    if profile in _TYPICAL and not (bandwidth and memory):
        usual = _TYPICAL[profile]
        bandwidth, memory = bandwidth or usual[0], memory or usual[1]
        assumed.append(
            f"assuming {bandwidth:g} GB/s and {memory:g} GiB: give --bandwidth and --memory of your host"
        )
    if not (bandwidth and memory):
        raise UsageError(
            f"profile {profile} has no default memory size", hint="give --bandwidth and --memory"
        )
    halo = known.bandwidth_gb_s == HALO_GB_S
    left = memory - known.reserve_gib
    gtt = given.gtt_gib if given.gtt_gib is not None else known.gtt_gib or max(memory - 8, memory / 2)
    if given.carve_out_gib >= memory:
        message = f"a carve-out of {given.carve_out_gib:g} GiB leaves none of the {memory:g} GiB of memory"
        raise UsageError(
            message, hint="--memory is the installed memory, --carve-out the part reserved for the GPU"
        )
    if given.gtt_gib is not None and given.gtt_gib > left:
        assumed.append(f"--gtt {given.gtt_gib:g} is more than the {left:g} GiB that the system leaves free")
    context, depth = tokens
    if depth > context:
        assumed.append(f"the context of {context} tokens is smaller than the depth: give a larger --context")
    reachable = min(gtt + given.carve_out_gib, left)
    on_cpu = max(0.0, left - given.carve_out_gib)
    return Setting(
        machine=Machine(bandwidth, measured=profile == "sandbox", halo=halo),
        backend=backend,
        available_bytes=round((on_cpu if backend == "cpu" else reachable) * GIB),
        system_bytes=round(left * GIB),
        context=context,
        depth=depth,
    ), assumed


def _judged(found: Prediction, backend: str, claim: float | None, *, speculated: bool) -> Verdict | None:
    """Judge a claimed speed as if it had been measured; several tokens a read have no ceiling."""
    if claim is None:
        return None
    run = BenchRun("", found.shape.name, backend, "", "tg128", (claim,), speculated=speculated)
    expectation = found.decode
    if expectation is None:
        return replace(judge(run, None), grade=Grade.INVALID, reason=found.no_speed)
    if speculated:
        return judge(run, replace(expectation, ceiling_tps=inf))
    verdict = judge(run, expectation)
    if verdict.grade is not Grade.IMPOSSIBLE:
        return verdict
    reason = (
        f"{claim:.2f} t/s is more than memory allows where each token reads the weights "
        f"({expectation.ceiling_tps:.2f}); was it reached with a draft model? Then add --speculation"
    )
    return replace(verdict, reason=reason)


def _speeds(found: Expectation | None) -> dict[str, Any]:
    """Return the keys of a speed, null where there is none."""
    if found is None:
        return {"expected_tps": None, "floor_tps": None, "ceiling_tps": None, "basis": None}
    return {
        "expected_tps": found.expected_tps,
        "floor_tps": found.floor_tps,
        "ceiling_tps": None if isinf(found.ceiling_tps) else found.ceiling_tps,
        "basis": str(found.basis),
    }


def _document(answer: _Answer) -> dict[str, Any]:
    shape, memory, partial = answer.found.shape, answer.found.memory, answer.found.partial
    claim = answer.claim
    return {
        "schema": "strixfleet/predict/1",
        "exit_code": int(_exit_code(answer.found)),
        "profile": answer.profile,
        "backend": answer.setting.backend,
        "context": answer.setting.context,
        "depth": answer.setting.depth,
        "model": {
            "name": shape.name,
            "architecture": shape.architecture,
            "layers": shape.layers,
            "size_bytes": shape.size_bytes,
            "bytes_read_per_token": shape.bytes_read_per_token,
            "experts": shape.experts,
            "experts_used": shape.experts_used,
            "moe_layers": shape.moe_layers,
            "recurrent_layers": shape.recurrent_layers,
            "prediction_layers": shape.prediction_layers,
            "parameters": shape.parameters,
        },
        "memory": {
            "weights_bytes": memory.weights_bytes,
            "kv_bytes": memory.kv_bytes,
            "overhead_bytes": memory.overhead_bytes,
            "available_bytes": memory.available_bytes,
            "fits": memory.fits,
            "layers_on_gpu": memory.layers_on_gpu,
        },
        "decode": _speeds(answer.found.decode),
        "partial": {**_speeds(partial), "layers_on_gpu": memory.layers_on_gpu} if partial else None,
        "reason": answer.found.reason,
        "notes": answer.warnings,
        "claim": {"tps": claim.measured_tps, "grade": claim.grade, "reason": claim.reason} if claim else None,
    }


def _in_words(answer: _Answer) -> str:
    from strixfleet.report.terminal import WIDTH, console_for

    found, setting = answer.found, answer.setting
    shape = found.shape
    experts = f", {shape.experts_used} of {shape.experts} experts" if shape.experts else ""
    lines = [
        ("model", f"{shape.name} ({shape.architecture}, {shape.layers} layers{experts})"),
        ("size", f"{shape.size_bytes / GIB:.2f} GiB, mostly {shape.main_type}"),
        ("on", f"{answer.profile}, {setting.backend}, context {setting.context}"),
        ("memory", found.memory.in_words()),
        *_speed_lines(found),
    ]
    if answer.claim:
        lines.append(("claim", f"{answer.claim.grade}: {answer.claim.reason}"))
    lines += [("note", warning) for warning in answer.warnings]
    width = min(WIDTH, console_for(sys.stdout).width)
    return "\n".join(_row(label, text, width) for label, text in lines)


def _speed_lines(found: Prediction) -> Iterator[tuple[str, str]]:
    decode, partial = found.decode, found.partial
    if decode is None:
        yield "decode", found.no_speed
        if partial:
            layers = f"{found.memory.layers_on_gpu} of {found.shape.layers} layers on the GPU"
            yield "", f"{partial.expected_tps:.2f} t/s with {layers} (--gpu-layers), a rough figure"
            yield "because", partial.reason
        return
    yield "decode", f"{decode.expected_tps:.2f} t/s expected ({decode.basis})"
    yield "", f"{decode.floor_tps:.2f} t/s is the floor: below it, `bench` calls a host slow"
    if not isinf(decode.ceiling_tps):
        yield "", f"{decode.ceiling_tps:.2f} t/s is the ceiling: a higher figure is wrong"
    yield "because", decode.reason


def _row(label: str, text: str, width: int) -> str:
    indent = " " * 9
    return textwrap.fill(text, width, initial_indent=f"{label:<9}", subsequent_indent=indent)
