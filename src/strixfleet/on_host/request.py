"""
Send completions to a server on this host: timed ones, two that are alike, facts to recall, several at once.

Servers listen on loopback or a tailnet only, so the requests start here. It writes nothing.
"""

from __future__ import annotations

import time
from typing import Any, Callable

from . import cpu_time
from .ask_together import together
from .http_client import NotServed, Server
from .recall_facts import planted


ANSWER_LIMIT_S = 180.0  # a server that takes longer for a hundred tokens does not serve


def stream(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """Time one streamed completion: arrival of its first and last token, and what the server itself says."""
    started, first_s, last_s = time.monotonic(), None, None
    final: dict[str, Any] = {}
    for event in server.events("/completion", {**body, "stream": True}, ANSWER_LIMIT_S):
        now_s = time.monotonic() - started
        if event.get("stop"):
            final = event
        else:
            first_s = now_s if first_s is None else first_s
            last_s = now_s
    timings = final.get("timings", {})
    return {
        "first_token_s": first_s,
        "last_token_s": last_s,
        "tokens": min(final.get("tokens_predicted", 0), body["n_predict"]),  # never more than asked for
        "prompt_tokens": timings.get("prompt_n", 0),
        "server_decode_tps": timings.get("predicted_per_second"),
        "server_prefill_tps": timings.get("prompt_per_second"),
        "draft_tokens": timings.get("draft_n", 0),
        "accepted_tokens": timings.get("draft_n_accepted", 0),
    }


def drafted(server: Server, request: dict[str, Any]) -> dict[str, Any] | None:
    """Time natural text with the draft model, and without where the server heeds that."""
    wish = request.get("draft")
    if not wish:
        return None
    body = {**wish["body"], "temperature": 0, "seed": 1}
    found = {"speculating": [stream(server, body) for _ in range(request["repetitions"])], "plain": []}
    for _ in range(request["repetitions"]):
        found["plain"].append(stream(server, {**body, **wish["without"]}))
        if found["plain"][-1]["draft_tokens"]:
            break
    return found


def tried(act: Callable[..., Any], *given: Any) -> tuple[Any, str]:
    """Do what may fail without spoiling the measurement; return the result, or None and how it failed."""
    try:
        return act(*given), ""
    except NotServed as problem:
        return None, str(problem)
    except Exception as problem:
        return None, "%s: %s" % (type(problem).__name__, problem)


def answers(server: Server, request: dict[str, Any], body: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask each prompt once, the first one twice."""
    short = {**body, "n_predict": request["repeat_tokens"], "return_tokens": True}
    asked = request.get("prompts") or [body["prompt"]]
    rows = [
        server.fetch("/completion", {**short, "prompt": prompt}, ANSWER_LIMIT_S)
        for prompt in [asked[0], *asked]
    ]
    return [{"tokens": row.get("tokens"), "content": row.get("content")} for row in rows]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Send all completions that a request asks for; a server that does not answer is an answer, too."""
    try:
        return served(Server(request["url"], request.get("key_file") or "", request["timeout_s"]), request)
    except NotServed as problem:
        return {"error": str(problem)}


def served(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """Measure a server that answers."""
    body = {**request["body"], "cache_prompt": False, "temperature": 0, "seed": 1}
    busy_slots = server.running_requests()
    outputs = answers(server, request, body)
    cpu, own_jiffies = cpu_time.now(), cpu_time.of_process(request["pid"])
    runs = [stream(server, body) for _ in range(request["repetitions"])]
    own_jiffies = cpu_time.of_process(request["pid"]) - own_jiffies
    others_share = cpu_time.busy_share(cpu, cpu_time.now(), own_jiffies)
    properties = server.fetch("/props")
    facts, problem = tried(planted, server, request, properties)
    if problem:
        facts = {"facts": 0, "skipped": problem}
        server.fetch("/health")  # a server that fell over a long prompt is not to be measured
    streams, problem = tried(together, server, request, properties)
    if problem:
        streams = {"skipped": problem}
        server.fetch("/health")
    draft, _problem = tried(drafted, server, request)
    return {
        "error": None,
        "others_share": others_share,
        "busy_slots": busy_slots,
        "runs": runs,
        "outputs": outputs,
        "build_info": properties.get("build_info"),
        "model_path": properties.get("model_path"),
        "planted": facts,
        "together": streams,
        "draft": draft,
    }
