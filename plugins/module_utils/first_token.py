"""Have a llama-server on this host generate one token: a server whose GPU hangs still says it is healthy."""

from __future__ import annotations

from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host.http_client import OK, Server
from ansible_collections.strixfleet.fleet.plugins.module_utils.on_host.plain_text import plain


COMPLETION = {"prompt": "Hello", "n_predict": 1, "temperature": 0, "cache_prompt": False}


def refusal(server: Server, probe: str, timeout_s: float) -> str:
    """Return what is wrong with the answer, or nothing."""
    if probe == "health":
        return ""
    path, body = "/completion", COMPLETION
    if probe == "embedding":
        path, body = "/v1/embeddings", {"input": "Hello"}
    reply = server.ask(path, body, timeout_s)
    if reply.status != OK:
        return f"POST {path} answers {reply.status}: {plain(reply.text[:300])}"
    answer = reply.json()
    if not isinstance(answer, dict):
        return f"POST {path} does not answer JSON"
    told = answer.get("data") if probe == "embedding" else answer.get("tokens_predicted")
    return "" if told else f"POST {path} generated nothing"
