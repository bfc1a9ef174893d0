"""
Send completions to a server on this host: timed ones, two that have to be alike, facts to be recalled.

Runs on the managed host as `python3 -I -c …`: standard library of Python 3.9 or newer, and nothing of ours.
Servers listen on loopback or a tailnet only, so the requests start here. Writes nothing.
"""

import json
import re
import time
import urllib.error
import urllib.request


SENTINEL = "strixfleet-bench:"
LETTERS_PER_TOKEN = 4
TOO_LONG = 400  # what llama-server answers to a prompt beyond a slot's context


def keys_of(path):
    """Read the keys of a server's key file."""
    with open(path, encoding="utf-8") as file:
        rows = [row.strip() for row in file]
    return [row for row in rows if row and not row.startswith("#")]


def open_url(request, path, body=None):
    """Open one address of a server on this host; never through a proxy."""
    headers = {"Content-Type": "application/json"}
    if request.get("key_file"):
        headers["Authorization"] = "Bearer " + keys_of(request["key_file"])[0]
    data = None if body is None else json.dumps(body).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    made = urllib.request.Request(request["url"] + path, data=data, headers=headers)
    return opener.open(made, timeout=request["timeout_s"])


def fetch(request, path, body=None):
    """Fetch one JSON answer."""
    with open_url(request, path, body) as response:
        return json.loads(response.read(8 << 20))


def stream(request, body):
    """Time one streamed completion: arrival of its first and last token, and what the server itself says."""
    started, first_s, last_s, final = time.monotonic(), None, None, {}
    with open_url(request, "/completion", {**body, "stream": True}) as response:
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            now_s, event = time.monotonic() - started, json.loads(line[6:])
            if event.get("stop"):
                final = event
            else:
                first_s = now_s if first_s is None else first_s
                last_s = now_s
    timings = final.get("timings", {})
    return {
        "first_token_s": first_s,
        "last_token_s": last_s,
        "tokens": final.get("tokens_predicted", 0),
        "prompt_tokens": timings.get("prompt_n", 0),
        "server_decode_tps": timings.get("predicted_per_second"),
        "server_prefill_tps": timings.get("prompt_per_second"),
        "draft_tokens": timings.get("draft_n", 0),
        "accepted_tokens": timings.get("draft_n_accepted", 0),
    }


def processing(request):
    """Count the requests of others; 0 where the server does not show its metrics."""
    try:
        with open_url(request, "/metrics") as response:
            rows = response.read(1 << 20).decode("utf-8", "replace").splitlines()
    except (OSError, ValueError):
        return 0
    found = [row.split()[-1] for row in rows if row.startswith("llamacpp:requests_processing")]
    return int(float(found[0])) if found else 0


def jiffies(pid):
    """Return busy and total time of all cores, and that of one process."""
    with open("/proc/stat", encoding="utf-8") as file:
        fields = [int(word) for word in file.readline().split()[1:9]]
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as file:
            own = sum(int(word) for word in file.read().rpartition(")")[2].split()[11:13])
    except OSError:
        own = 0
    return sum(fields) - fields[3] - fields[4], sum(fields), own


def others_share(before, after):
    """Return what share of all cores others took between two readings."""
    busy, total, own = (late - early for early, late in zip(before, after))
    return round(max(0.0, (busy - own) / max(1, total)), 3)


def count_tokens(request, text):
    """Count the tokens of a text; by its letters where the server does not count."""
    try:
        tokens = fetch(request, "/tokenize", {"content": text}).get("tokens")
    except (OSError, ValueError, AttributeError):
        tokens = None
    return len(tokens) if isinstance(tokens, list) and tokens else max(1, len(text) // LETTERS_PER_TOKEN)


def planted_prompt(wish, fact, sentences):
    """Lay a fact into so many sentences of filler, and the question behind them."""
    rows = [wish["filler"][at % len(wish["filler"])] for at in range(sentences)]
    rows.insert(int(sentences * fact["at"]), fact["plant"])
    return " ".join([*rows, fact["question"]])


def recall(request, wish, fact, sentences):
    """Ask for a fact; digits may be grouped or set off."""
    body = {"cache_prompt": False, "temperature": 0, "seed": 1, "n_predict": wish["answer_tokens"]}
    row = fetch(request, "/completion", {**body, "prompt": planted_prompt(wish, fact, sentences)})
    content = str(row.get("content") or "")
    found = fact["code"] in re.sub(r"[\s,.*_`]", "", content)
    return {"content": content[:200], "recalled": found, "tokens": row.get("tokens_evaluated")}


def recall_all(request, wish, sentences, until):
    """Ask for the facts in turn, until one is recalled, or is not."""
    rows = []
    for fact in wish["facts"]:
        rows.append(recall(request, wish, fact, sentences))
        if rows[-1]["recalled"] is until:
            break
    return rows


def planted(request, properties):
    """Ask for planted facts: from short prompts first, then, where all were recalled, from long ones."""
    wish = request.get("planted")
    if not wish:
        return None
    slot = (properties.get("default_generation_settings") or {}).get("n_ctx") or wish["room_tokens"]
    slot = min(slot, trained_tokens(request) or slot)
    tokens = min(wish["long_tokens"], slot - wish["spare_tokens"])
    found = {"facts": len(wish["facts"])}
    if tokens < wish["least_tokens"]:
        reason = "a slot holds %d tokens, hardly more than a micro-batch" % slot
        return {**found, "skipped": reason}
    sentence_tokens = count_tokens(request, " ".join(wish["filler"])) / len(wish["filler"])
    found["short"] = recall_all(request, wish, int(wish["short_tokens"] / sentence_tokens), until=False)
    if all(row["recalled"] for row in found["short"]):
        try:
            found["long"] = recall_all(request, wish, int(tokens / sentence_tokens), until=True)
        except urllib.error.HTTPError as problem:
            if problem.code != TOO_LONG:
                raise
            reason = problem.read(200).decode("utf-8", "replace")
            found["skipped"] = "the server answered %d: %s" % (problem.code, reason)
    return found


def drafted(request):
    """Time natural text with the draft model, and without where the server heeds that."""
    wish = request.get("draft")
    if not wish:
        return None
    body = {**wish["body"], "temperature": 0, "seed": 1}
    found = {"speculating": [stream(request, body) for _ in range(request["repetitions"])], "plain": []}
    for _ in range(request["repetitions"]):
        found["plain"].append(stream(request, {**body, **wish["without"]}))
        if found["plain"][-1]["draft_tokens"]:
            break
    return found


def tried(act, *given):
    """Do what spoils no measurement where it fails; give what came of it, or None and how it failed."""
    try:
        return act(*given), ""
    except urllib.error.HTTPError as problem:
        reason = problem.read(200).decode("utf-8", "replace")
        return None, "the server answered %d: %s" % (problem.code, reason)
    except Exception as problem:
        return None, "%s: %s" % (type(problem).__name__, problem)


def trained_tokens(request):
    """Return the context that the model was trained for: beyond it, a healthy one answers nonsense, too."""
    try:
        return fetch(request, "/v1/models")["data"][0]["meta"]["n_ctx_train"]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def answers(request, body):
    """Ask each prompt once, the first one twice."""
    short = {**body, "n_predict": request["repeat_tokens"], "return_tokens": True}
    asked = request.get("prompts") or [body["prompt"]]
    rows = [fetch(request, "/completion", {**short, "prompt": prompt}) for prompt in [asked[0], *asked]]
    return [{"tokens": row.get("tokens"), "content": row.get("content")} for row in rows]


def served(request):
    """Send completions to a running server: timed ones, two that have to be alike, facts to be recalled."""
    body = {**request["body"], "cache_prompt": False, "temperature": 0, "seed": 1}
    busy = processing(request)
    try:
        outputs = answers(request, body)
        before = jiffies(request["pid"])
        runs = [stream(request, body) for _ in range(request["repetitions"])]
        after = jiffies(request["pid"])
        properties = fetch(request, "/props")
        facts, problem = tried(planted, request, properties)
        draft, _problem = tried(drafted, request)
        if problem:
            facts = {"facts": 0, "skipped": problem}
            fetch(request, "/health")  # a server that fell over a long prompt is not to be measured
    except urllib.error.HTTPError as problem:
        reason = problem.read(300).decode("utf-8", "replace")
        return {"error": "the server answered %d: %s" % (problem.code, reason)}
    except (OSError, ValueError) as problem:
        return {"error": "the server did not answer: %s" % getattr(problem, "reason", problem)}
    return {
        "error": None,
        "others_share": others_share(before, after),
        "busy_slots": busy,
        "runs": runs,
        "outputs": outputs,
        "build_info": properties.get("build_info"),
        "model_path": properties.get("model_path"),
        "planted": facts,
        "draft": draft,
    }


def main(request):
    """Print the answer on one line after the sentinel, so that a chatty login shell cannot corrupt it."""
    try:
        answer = {"answer": served(request)}
    except Exception as problem:
        answer = {"error": "%s: %s" % (type(problem).__name__, problem)}
    print(SENTINEL + json.dumps(answer))
