"""
Write the inventory's reference page from the models.

`make docs` writes docs/inventory.md; a test compares the two.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from strixfleet.inventory.schema.parts import Instance, Model, ModelFile, SmokeBench, Waiver
from strixfleet.inventory.schema.settings import HostSettings


SUBJECTS = {
    "hardware_": "Hardware",
    "kernel_": "Kernel",
    "gpu_stack_": "Kernel, firmware and Mesa packages",
    "tuning_": "Power",
    "llama_cpp_": "llama.cpp",
    "llama_models": "Models",
    "llama_server_": "Servers",
    "tailscale_": "Tailscale",
    "smoke_bench": "Smoke benchmark",
    "rollout_": "Upgrades",
    "audit_": "Audit",
    "sandbox_": "Sandbox",
}
PARTS: Mapping[str, tuple[type[BaseModel], ...]] = {
    "llama_models": (Model, ModelFile),
    "llama_server_": (Instance,),
    "smoke_bench": (SmokeBench,),
    "audit_": (Waiver,),
}
TITLES = {
    Model: "Each entry of `llama_models`",
    ModelFile: "Each entry of `files`",
    Instance: "Each entry of `llama_server_instances`",
    SmokeBench: "Keys of `smoke_bench`",
    Waiver: "Each entry of `audit_waivers`",
}
WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "boolean",
    "object": "map",
    "password": "secret",
    "date": "day",
}
INTRODUCTION = """\
# Inventory reference

<!-- Written by `make docs`; edit src/strixfleet/inventory/schema/ instead. -->

The inventory is Ansible's own: hosts, groups, `group_vars/`, `host_vars/`, vault, templates, dynamic
plugins, and the connection variables (`ansible_host`, `ansible_port`, `ansible_user`,
`ansible_ssh_private_key_file`, `ansible_ssh_common_args` with ProxyJump, `ansible_become*`,
`ansible_python_interpreter`). `strixfleet init` writes a commented starter; `strixfleet validate`
reports every mistake with file, line, host and field, and what to write instead.

Which inventory is read: `-i`, else `ANSIBLE_INVENTORY`, else `./inventory`, else the one of ansible.cfg.
Host keys are kept beside it, in `.strixfleet/known_hosts`, and what tags of llama.cpp named, in
`.strixfleet/pins.json`.

A name close to one of these is a mistake; another name under one of these prefixes is a warning, under
plain `ansible-playbook`, too. Files are scanned before Ansible reads them: at most 4 MiB and 100,000 values
(aliases expanded) each, and nothing set twice, in YAML as in INI. Of `x`, `x.yml`, `x.yaml` and `x.json` in
group_vars/ and host_vars/ Ansible reads the first: the others are mistakes.
"""


def page() -> str:
    """Return the whole page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    schema = HostSettings.model_json_schema()
    for prefix, title in SUBJECTS.items():
        names = [name for name in HostSettings.model_fields if name.startswith(prefix)]
        yield f"## {title}\n"
        yield from _table(HostSettings, schema, names)
        for part in PARTS.get(prefix, ()):
            yield f"### {TITLES[part]}\n"
            yield from _table(part, schema["$defs"][part.__name__], list(part.model_fields))


def _table(model: type[BaseModel], schema: Mapping[str, Any], names: list[str]) -> Iterator[str]:
    yield "| name | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name in names:
        field = model.model_fields[name]
        shape = schema["properties"][name]
        default = (
            "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        )
        yield f"| `{name}` | {_type(shape)}{_limits(field.metadata)} | {default} | {field.description} |"
    yield ""


def _default(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, BaseModel) or value in ({}, ()):
        return "`{}`" if not isinstance(value, tuple) else "`[]`"
    return f"`{value}`"


def _type(shape: Mapping[str, Any]) -> str:
    if "anyOf" in shape:
        options = [_type(option) for option in shape["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(options))
    names = shape.get("enum") or ([shape["const"]] if "const" in shape else [])
    if names:
        return " or ".join(f"`{name}`" for name in names)
    if shape.get("type") == "array":
        return f"list of {_type(shape['items'])}s"
    return WORDS[str(shape.get("format") or shape.get("type") or "object")]


def _limits(metadata: Iterable[object]) -> str:
    """Return a number's range as `, 1 to 9`."""
    bounds: dict[str, object] = {}
    for item in metadata:
        bounds.update({side: getattr(item, side) for side in ("ge", "gt", "le", "lt") if hasattr(item, side)})
    if "ge" in bounds and "le" in bounds:
        return f", {bounds['ge']} to {bounds['le']}"
    return f" between {bounds['gt']} and {bounds['lt']}" if "gt" in bounds and "lt" in bounds else ""


if __name__ == "__main__":
    sys.stdout.write(page())
