"""
Ask a server several things at once: some builds confuse requests that overlap, and log nothing.

Each stream has a prompt, a fact and a length of its own. Asked alone it calibrates: what the model does not
recall alone proves nothing. Asked together it must recall the same, as long, and nothing of another stream:
once with an empty cache, and once with the prompts in the cache. A stream that merely forgets is asked once
more, because a batch may round differently; what is cut short or belongs to another stream is not.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .http_client import Server
from .recall_facts import count_tokens, planted_prompt, trained_tokens


LEAST_STREAMS = 2
LEAST_TOKENS = 64  # of a prompt, lest all of them fit into one batch
LIMIT_S = 120.0


def streams_and_tokens(wish: dict[str, Any], slots: int, slot_tokens: int) -> tuple[int, int]:
    """
    Return how many streams to send, and of how many tokens.

    As many as the server has slots, and at least two. All of them fit into the context of one slot, because
    newer servers share one context among the slots and report it as that of each.
    """
    spare = wish["spare_tokens"]
    most = max(LEAST_STREAMS, slot_tokens // (wish["long_tokens"] + spare))
    count = min(max(LEAST_STREAMS, slots), len(wish["streams"]), most)
    return count, min(wish["long_tokens"], slot_tokens // count - spare)


def prompts(server: Server, wish: dict[str, Any], count: int, tokens: int) -> list[str]:
    """Return a prompt for each stream; the filler of each begins elsewhere, so that none shares a prefix."""
    filler = wish["filler"]
    sentences = int(tokens / (count_tokens(server, " ".join(filler)) / len(filler)))
    step = max(1, len(filler) // count)
    return [
        planted_prompt({"filler": filler[at * step :] + filler[: at * step]}, fact, sentences)
        for at, fact in enumerate(wish["streams"][:count])
    ]


def ask(server: Server, wish: dict[str, Any], prompt: str, cached: bool) -> dict[str, Any]:
    """Send one stream; its answer has a fixed length whatever the model says."""
    body = {"temperature": 0, "seed": 1, "ignore_eos": True, "n_predict": wish["answer_tokens"]}
    row = server.fetch("/completion", {**body, "prompt": prompt, "cache_prompt": cached}, LIMIT_S)
    said = re.sub(r"[\s,.*_`]", "", str(row.get("content") or ""))
    return {
        "content": str(row.get("content") or "")[:200],
        "codes": [one["code"] for one in wish["streams"] if one["code"] in said],
        "length": row.get("tokens_predicted"),
        "prompt_tokens": row.get("tokens_evaluated"),
        "slot": row.get("id_slot"),
    }


def ask_all(server: Server, wish: dict[str, Any], texts: list[str], cached: bool) -> list[dict[str, Any]]:
    """Send all streams at once."""
    with ThreadPoolExecutor(len(texts)) as pool:
        return list(pool.map(lambda text: ask(server, wish, text, cached), texts))


def forgets(wish: dict[str, Any], alone: list[dict[str, Any]], rows: list[dict[str, Any]]) -> bool:
    """Tell whether a stream lost a fact that it recalls alone."""
    codes = (fact["code"] for fact in wish["streams"])
    rows_of_each = zip(codes, alone, rows)
    return any(code in before["codes"] and code not in row["codes"] for code, before, row in rows_of_each)


def together(server: Server, request: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any] | None:
    """Ask each stream alone, then all at once."""
    wish = request.get("together")
    if not wish:
        return None
    slot = (properties.get("default_generation_settings") or {}).get("n_ctx") or wish["room_tokens"]
    slot = min(slot, trained_tokens(server) or slot)
    count, tokens = streams_and_tokens(wish, properties.get("total_slots") or 1, slot)
    if tokens < LEAST_TOKENS:
        return {"skipped": "a slot holds %d tokens, too few for two requests" % slot}
    texts = prompts(server, wish, count, tokens)
    alone = [ask(server, wish, text, False) for text in texts]
    rounds = []
    for cached in (False, True):
        rows = ask_all(server, wish, texts, cached)
        again = ask_all(server, wish, texts, cached) if forgets(wish, alone, rows) else []
        rounds.append({"cached": cached, "rows": rows, "again": again})
    return {"alone": alone, "rounds": rounds}
