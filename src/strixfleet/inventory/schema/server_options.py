"""The long options of llama-server that the inventory may give, and why it may not give others."""

import re

from strixfleet.inventory.schema.field_types import quoted, refusal


FROM_CATALOGUE = "a model must come from llama_models, with its digest"
ARGUMENT_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
OWNED_ARGUMENTS = {
    "model": "use the field `model`",
    "port": "use the field `port`",
    "host": "use the field `host`",
    "ctx-size": "use the field `context_size`",
    "model-draft": "use the field `draft_model`",
    "spec-draft-model": "use the field `draft_model`",
    "api-key": "use the field `api_key`",
    "api-key-file": "use the field `api_key`",
    "alias": "drop it; the model's name in the catalogue is its alias",
    "log-file": "drop it; the journal has the log",
}
RISKY_ARGUMENTS = {
    "tools": "it lets every caller run commands on the host",
    "tools-runtime": "it lets every caller run commands on the host",
    "mcp-servers-config": "it lets callers reach other services through the host",
    "mcp-servers-json": "it lets callers reach other services through the host",
    "agent": "it lets every caller run commands on the host",
    "rpc": "the RPC backend allows remote code execution",
    "ui-mcp-proxy": "it lets callers reach other services through the host",
    "webui-mcp-proxy": "it lets callers reach other services through the host",
    "hf-repo-draft": FROM_CATALOGUE,
    "hf-repo-v": FROM_CATALOGUE,
    "hf-file-v": FROM_CATALOGUE,
    "spec-draft-hf": FROM_CATALOGUE,
    "docker-repo": FROM_CATALOGUE,
    "mmproj-url": "a file must come from llama_models, with its digest",
    "path": "it serves files of the host to callers",
    "models-dir": "router mode is not safe on untrusted networks",
    "models-preset": "router mode is not safe on untrusted networks",
    "hf-repo": FROM_CATALOGUE,
    "hf-file": FROM_CATALOGUE,
    "hf-token": "a secret must not be on a command line; use llama_models_token",
    "model-url": FROM_CATALOGUE,
    "slot-save-path": "it writes prompts of all callers to disk",
    "media-path": "it lets callers read files of the host",
}
# What llama-server's `common/arg.cpp` has with one dash alone; there is no `--ngl`.
SHORT_ARGUMENTS = {
    "tb": "threads-batch",
    "ub": "ubatch-size",
    "ctxcp": "ctx-checkpoints",
    "cram": "cache-ram",
    "kvu": "kv-unified",
    "fa": "flash-attn",
    "sys": "system-prompt",
    "sp": "special",
    "jf": "json-schema-file",
    "bs": "backend-sampling",
    "kvo": "kv-offload",
    "nkvo": "no-kv-offload",
    "nr": "no-repack",
    "ctk": "cache-type-k",
    "ctv": "cache-type-v",
    "dt": "defrag-thold",
    "np": "parallel",
    "cb": "cont-batching",
    "nocb": "no-cont-batching",
    "mm": "mmproj",
    "dev": "device",
    "ot": "override-tensor",
    "cmoe": "cpu-moe",
    "ncmoe": "n-cpu-moe",
    "ngl": "n-gpu-layers",
    "sm": "split-mode",
    "ts": "tensor-split",
    "mg": "main-gpu",
    "fitt": "fit-target",
    "fitc": "fit-ctx",
    "to": "timeout",
    "sps": "slot-prompt-similarity",
    "lv": "log-verbosity",
    "td": "threads-draft",
    "tbd": "threads-batch-draft",
    "ctkd": "cache-type-k-draft",
    "ctvd": "cache-type-v-draft",
    "otd": "override-tensor-draft",
    "cmoed": "cpu-moe-draft",
    "ncmoed": "n-cpu-moe-draft",
    "devd": "device-draft",
    "ngld": "n-gpu-layers-draft",
    "lm": "load-mode",
    "rea": "reasoning",
    "lcs": "lookup-cache-static",
    "lcd": "lookup-cache-dynamic",
    "gan": "grp-attn-n",
    "gaw": "grp-attn-w",
}
# Names that people write and that no release has had.
INVENTED_ARGUMENTS = {
    "draft-model": "use the field `draft_model`",
    "md": "use the field `draft_model`",
    "hf": FROM_CATALOGUE,
    "hfr": FROM_CATALOGUE,
    "hff": FROM_CATALOGUE,
    "hfd": "use the field `draft_model`",
    "hfrd": "use the field `draft_model`",
    "mu": FROM_CATALOGUE,
    "mmu": FROM_CATALOGUE,
    "context-size": "use the field `context_size`",
    "context-length": "use the field `context_size`",
    "context": "use the field `context_size`",
    "n-ctx": "use the field `context_size`",
    "num-ctx": "use the field `context_size`",
    "max-model-len": "use the field `context_size`",
    "gpu-layer": "write n-gpu-layers",
    "n-gpu-layer": "write n-gpu-layers",
    "num-gpu": "write n-gpu-layers",
    "flash-attention": "write flash-attn",
    "batch": "write batch-size",
    "ubatch": "write ubatch-size",
    "n-batch": "write batch-size",
    "n-ubatch": "write ubatch-size",
    "n-threads": "write threads",
    "n-parallel": "write parallel",
    "cache-type": "write cache-type-k and cache-type-v",
    "kv-cache-type": "write cache-type-k and cache-type-v",
    "max-tokens": "write n-predict",
}
# `--gpt-oss-20b-default`, `--fim-qwen-7b-spec` and the like; `--spec-default` alone names no model.
DOWNLOADING_PRESET = re.compile(r"(?!spec-default\Z)[a-z][a-z0-9.-]*-(default|spec)\Z")


def server_argument(name: str, value: str | None) -> str | None:
    """Refuse options that llama-server lacks, that strixfleet sets, and that give callers the host."""
    bare = name.lstrip("-")
    if bare != name:
        raise refusal(
            "argument", f"{quoted(name)} has leading dashes", f"write the name without dashes: {bare}"
        )
    if name in SHORT_ARGUMENTS:
        raise refusal(
            "argument",
            f"llama-server has no option --{name}",
            f"write the long name: {SHORT_ARGUMENTS[name]}",
        )
    if name in INVENTED_ARGUMENTS:
        raise refusal("argument", f"llama-server has no option --{name}", INVENTED_ARGUMENTS[name])
    if DOWNLOADING_PRESET.match(name):
        raise refusal("argument", f"{name} is refused: {FROM_CATALOGUE}", "drop it")
    if len(name) == 1 or not ARGUMENT_NAME.match(name):
        raise refusal(
            "argument", f"{quoted(name)} is not a long option", "write the long name, such as n-gpu-layers"
        )
    if name in OWNED_ARGUMENTS:
        raise refusal("argument", f"{name} is set by strixfleet", OWNED_ARGUMENTS[name])
    if name in RISKY_ARGUMENTS:
        raise refusal("argument", f"{name} is refused: {RISKY_ARGUMENTS[name]}", "drop it")
    return value
