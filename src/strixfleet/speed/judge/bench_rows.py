"""What was measured for one model, as rows of the JSON of `bench`."""

from collections.abc import Mapping
from statistics import median

from strixfleet.on_host.questions import Json
from strixfleet.speed.judge.judge_runs import Expectations, bench_runs
from strixfleet.speed.judge.slow_causes import SlowCause
from strixfleet.speed.measure.evidence import Evidence
from strixfleet.speed.measure.llama_bench import spread
from strixfleet.speed.measure.served import Served


def rows_of(
    evidence: Evidence, expectations: Expectations, causes: tuple[SlowCause, ...], generate_tokens: int
) -> dict[str, list[Json]]:
    """Return the rows of one target, by their key in the host's entry."""
    name, gain = evidence.target.instance_name, evidence.draft_gain(generate_tokens)
    draft: dict[str, Json] = {"draft": gain.to_json()} if gain else {}
    return {
        "runs": runs_json(evidence, expectations, generate_tokens),
        "served": [{"instance": name, **latency_json(evidence.served), **draft}],
        "reasons": [{"instance": name, **one.to_json()} for one in causes],
        "cpu": [{"instance": name, **one.to_json()} for one in evidence.against_cpu],
    }


def runs_json(evidence: Evidence, expectations: Expectations, generate_tokens: int) -> list[Json]:
    """Return the samples behind the verdicts."""
    rows: list[Json] = []
    for run in bench_runs(evidence, generate_tokens):
        if run.samples_tps:
            expectation = expectations.of(run)
            rows.append(
                {
                    "instance": run.instance,
                    "model": run.model,
                    "test": run.test,
                    "samples_tps": [round(sample, 3) for sample in run.samples_tps],
                    "spread": round(spread(run.samples_tps), 4),
                    "basis": expectation.basis.value if expectation else None,
                    "expectation": expectation.reason if expectation else None,
                }
            )
    return rows


def latency_json(served: Served | None) -> Mapping[str, Json]:
    """Return the time to the first token."""
    if served is None or not served.runs:
        return {}
    return {
        "first_token_s": round(median(run.first_token_s for run in served.runs), 4),
        "prompt_tokens": served.runs[0].prompt_tokens,
    }
