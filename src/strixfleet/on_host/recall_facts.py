"""Ask a server to recall facts from its prompts; speed/measure/recall.py says which, and what it proves."""

from __future__ import annotations

import re
from typing import Any

from .http_client import NotServed, Server


LETTERS_PER_TOKEN = 4
TOO_LONG = 400  # what llama-server answers to a prompt beyond a slot's context


def count_tokens(server: Server, text: str) -> int:
    """Count the tokens of a text; by its letters where the server does not count."""
    try:
        tokens = server.fetch("/tokenize", {"content": text}).get("tokens")
    except (NotServed, AttributeError):
        tokens = None
    return len(tokens) if isinstance(tokens, list) and tokens else max(1, len(text) // LETTERS_PER_TOKEN)


def trained_tokens(server: Server) -> int | None:
    """Return the context that the model was trained for; beyond it a healthy one answers nonsense, too."""
    try:
        found = server.fetch("/v1/models")["data"][0]["meta"]["n_ctx_train"]
    except (NotServed, KeyError, IndexError, TypeError):
        return None
    return found if isinstance(found, int) else None


def planted_prompt(wish: dict[str, Any], fact: dict[str, Any], sentences: int) -> str:
    """Put a fact among sentences of filler, and the question behind them."""
    rows = [wish["filler"][at % len(wish["filler"])] for at in range(sentences)]
    rows.insert(int(sentences * fact["at"]), fact["plant"])
    return " ".join([*rows, fact["question"]])


def recall(server: Server, wish: dict[str, Any], fact: dict[str, Any], sentences: int) -> dict[str, Any]:
    """Ask for a fact; digits may be grouped or set off."""
    body = {"cache_prompt": False, "temperature": 0, "seed": 1, "n_predict": wish["answer_tokens"]}
    row = server.fetch("/completion", {**body, "prompt": planted_prompt(wish, fact, sentences)})
    content = str(row.get("content") or "")
    found = fact["code"] in re.sub(r"[\s,.*_`]", "", content)
    return {"content": content[:200], "recalled": found, "tokens": row.get("tokens_evaluated")}


def recall_all(server: Server, wish: dict[str, Any], sentences: int, until: bool) -> list[dict[str, Any]]:
    """Ask for the facts in turn, until one is recalled, or is not."""
    rows: list[dict[str, Any]] = []
    for fact in wish["facts"]:
        rows.append(recall(server, wish, fact, sentences))
        if rows[-1]["recalled"] is until:
            break
    return rows


def planted(server: Server, request: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any] | None:
    """Ask for planted facts: from short prompts first, then, where all were recalled, from long ones."""
    wish = request.get("planted")
    if not wish:
        return None
    slot = (properties.get("default_generation_settings") or {}).get("n_ctx") or wish["room_tokens"]
    slot = min(slot, trained_tokens(server) or slot)
    tokens = min(wish["long_tokens"], slot - wish["spare_tokens"])
    found: dict[str, Any] = {"facts": len(wish["facts"])}
    if tokens < wish["least_tokens"]:
        reason = "a slot holds %d tokens, hardly more than a micro-batch" % slot
        return {**found, "skipped": reason}
    sentence_tokens = count_tokens(server, " ".join(wish["filler"])) / len(wish["filler"])
    found["short"] = recall_all(server, wish, int(wish["short_tokens"] / sentence_tokens), until=False)
    if all(row["recalled"] for row in found["short"]):
        try:
            found["long"] = recall_all(server, wish, int(tokens / sentence_tokens), until=True)
        except NotServed as problem:
            if problem.status != TOO_LONG:
                raise
            found["skipped"] = str(problem)
    return found
