"""The variables of each role as Ansible describes and checks them, written from the models."""

from collections.abc import Mapping
from typing import Any

from strixfleet.inventory.schema.settings import HostSettings


PREFIXES = {
    "gpu_stack": ("gpu_stack_", "llama_cpp_backend"),
    "kernel": ("kernel_", "hardware_profile"),
    "tuning": ("tuning_",),
    "llama_cpp": ("llama_cpp_",),
    "llama_models": ("llama_models",),
    "llama_server": ("llama_server_",),
    "tailscale": ("tailscale_",),
}
_TYPES = {"string": "str", "integer": "int", "boolean": "bool", "array": "list", "object": "dict"}


def options_of(role: str) -> dict[str, dict[str, Any]]:
    """Return `options` of a role's argument_specs: all variables of the inventory that it goes by."""
    schema = HostSettings.model_json_schema()["properties"]
    return {
        name: _option(name, schema[name])
        for name in HostSettings.model_fields
        if name.startswith(PREFIXES[role])
    }


def _option(name: str, shape: Mapping[str, Any]) -> dict[str, Any]:
    field = HostSettings.model_fields[name]
    found: dict[str, Any] = {"description": field.description, "type": _type(shape), "required": False}
    if "enum" in shape:
        found["choices"] = list(shape["enum"])
    default = field.get_default(call_default_factory=True)
    if isinstance(default, bool | int | str):
        found["default"] = default
    if found["type"] == "list":
        found["elements"] = "raw"
    if shape.get("format") == "password" or _is_secret(shape):
        found["no_log"] = True
    return found


def _is_secret(shape: Mapping[str, Any]) -> bool:
    return any(one.get("format") == "password" for one in shape.get("anyOf", ()))


def _type(shape: Mapping[str, Any]) -> str:
    """Return Ansible's name of a type; what may be of several is `raw`."""
    if "anyOf" in shape:
        types = {_type(one) for one in shape["anyOf"] if one.get("type") != "null"}
        return types.pop() if len(types) == 1 else "raw"
    return _TYPES.get(str(shape.get("type")), "raw")
