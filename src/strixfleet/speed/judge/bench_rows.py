"""What was measured for one model, as rows for scripts."""

from collections.abc import Mapping
from statistics import median

from strixfleet.on_host.questions import Json
from strixfleet.speed.judge.measured import Evidence, Expectations
from strixfleet.speed.judge.slow_causes import Reason
from strixfleet.speed.measure.llama_bench import spread
from strixfleet.speed.measure.served import Served


def rows_of(
    evidence: Evidence, yardstick: Expectations, why: tuple[Reason, ...], generate_tokens: int
) -> dict[str, list[Json]]:
    """Return the rows of one target by the key of the host's entry."""
    name, gain = evidence.target.instance_name, evidence.draft_gain(generate_tokens)
    draft: dict[str, Json] = {"draft": gain.to_json()} if gain else {}
    return {
        "runs": runs_json(evidence, yardstick, generate_tokens),
        "served": [{"instance": name, **latency_json(evidence.served), **draft}],
        "reasons": [{"instance": name, **one.to_json()} for one in why],
        "cpu": [{"instance": name, **one.to_json()} for one in evidence.against_cpu],
    }


def runs_json(evidence: Evidence, yardstick: Expectations, generate_tokens: int) -> list[Json]:
    """Return the samples behind the verdicts."""
    rows: list[Json] = []
    for run in evidence.runs(generate_tokens):
        if run.samples_tps:
            expectation = yardstick.of(run)
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
