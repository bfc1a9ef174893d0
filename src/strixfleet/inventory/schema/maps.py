"""Maps of names and values: kernel arguments, CMake definitions, server arguments, environment."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated

from pydantic import BeforeValidator, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from strixfleet.inventory.schema.field_types import BOOLEANS, as_map, has_control, quoted, refusal
from strixfleet.inventory.schema.kernel_arguments import kernel_argument
from strixfleet.inventory.schema.server_options import server_argument


VALUE_MAX_CHARS = 1024
CMAKE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
ENVIRONMENT_NAME = re.compile(r"[A-Z_][A-Z0-9_]*\Z")

DEAD_CMAKE = {
    "LLAMA_HIPBLAS": "GGML_HIP comes with llama_cpp_backend: rocm",
    "GGML_HIPBLAS": "GGML_HIP comes with llama_cpp_backend: rocm",
    "LLAMA_HIP_UMA": "drop it; unified memory needs no build flag",
    "GGML_HIP_UMA": "drop it; unified memory needs no build flag",
    "GGML_HIP_ROCWMMA_FATTN": "drop it; removed upstream in July 2026 and ignored since",
    "LLAMA_CURL": "drop it; b7736 replaced libcurl with OpenSSL",
    "LLAMA_CUBLAS": "drop it; these boxes have no CUDA",
    "LLAMA_CUDA": "drop it; these boxes have no CUDA",
    "LLAMA_VULKAN": "GGML_VULKAN comes with llama_cpp_backend: vulkan",
    "LLAMA_NATIVE": "write GGML_NATIVE",
    "LLAMA_BLAS": "write GGML_BLAS",
    "LLAMA_RPC": "drop it; the RPC backend is not safe",
}
OWNED_CMAKE = {
    "GGML_VULKAN": "choose llama_cpp_backend",
    "GGML_HIP": "choose llama_cpp_backend",
    "GGML_CUDA": "choose llama_cpp_backend; these boxes have no CUDA",
    "CMAKE_BUILD_TYPE": "drop it; builds are Release",
    "CMAKE_INSTALL_PREFIX": "drop it; strixfleet names the folder after the build",
    "GGML_CCACHE": "drop it; ccache is always used",
}
RISKY_ENVIRONMENT = re.compile(
    r"(LD_.*|PATH|HOME|BASH_ENV|GCONV_PATH|GGML_BACKEND_PATH|HSA_TOOLS_LIB|VK_.*LAYER.*PATH)\Z"
)


def _value(value: object) -> str | None:
    """Return a value as text or None; refuse what YAML turned into a boolean or a structure."""
    if isinstance(value, bool):
        word = "on" if value else "off"
        raise refusal(
            "boolean",
            f"expected text, got a YAML boolean (an unquoted {BOOLEANS[value]})",
            f'put it in quotes, such as "{word}"; write null for a flag without a value',
        )
    if value is not None and not isinstance(value, str | int | float):
        raise refusal("value", "is neither text nor a number", "write one value")
    text = None if value is None else str(value)
    if text is not None and (has_control(text) or len(text) > VALUE_MAX_CHARS):
        raise refusal(
            "value", "has a line break or a control character, or is too long", "write it on one line"
        )
    return text


def _checked(check: Callable[[str, str | None], str | None], value: object) -> dict[str, str | None]:
    """Check every entry of a map and report all that are wrong, each under its key."""
    given = as_map(value)
    good: dict[str, str | None] = {}
    wrong: list[InitErrorDetails] = []
    for key, item in given.items() if isinstance(given, Mapping) else ():
        try:
            if not isinstance(key, str):
                raise refusal("key", f"the name {quoted(key)} is not text", "put the name in quotes")
            good[key] = check(key, _value(item))
        except PydanticCustomError as error:
            wrong.append(InitErrorDetails(type=error, loc=(str(key),), input=None))
    if wrong:
        raise ValidationError.from_exception_data("map", wrong)
    return good


def _cmake_argument(name: str, value: str | None) -> str | None:
    """Refuse names that upstream ignores, names that strixfleet sets, and values that cmake would split."""
    if not CMAKE_NAME.match(name):
        raise refusal("cmake", f"{quoted(name)} is not a valid CMake name", "write the name without -D")
    if name in DEAD_CMAKE:
        raise refusal("cmake", f"llama.cpp no longer knows {name} and ignores it", DEAD_CMAKE[name])
    if name in OWNED_CMAKE:
        raise refusal("cmake", f"{name} is set by strixfleet", OWNED_CMAKE[name])
    if value is None:
        raise refusal("cmake", "has no value", 'write "ON", "OFF" or another value')
    if name == "GGML_RPC" and value.upper() not in {"OFF", "0", "FALSE", "NO"}:
        raise refusal("cmake", "the RPC backend allows remote code execution", "drop GGML_RPC")
    if any(char in value for char in '";\\`$'):
        raise refusal(
            "cmake", f"the value {quoted(value)} has quotes, semicolons, $ or \\", "write a plain value"
        )
    return value


def _environment_variable(name: str, value: str | None) -> str | None:
    """Refuse names that no shell accepts, those that load foreign code, and secrets."""
    if not ENVIRONMENT_NAME.match(name):
        raise refusal("environment", f"{quoted(name)} is not a valid variable name", "use A-Z, 0-9 and '_'")
    if name.startswith("LLAMA_ARG_"):
        option = name.removeprefix("LLAMA_ARG_").lower().replace("_", "-")
        raise refusal(
            "environment", f"{name} is an argument of llama-server", f"use the field `arguments` ({option})"
        )
    if RISKY_ENVIRONMENT.match(name):
        raise refusal("environment", f"{name} would change which code runs", "drop it")
    if name in {"LLAMA_API_KEY", "HF_TOKEN"}:
        raise refusal(
            "environment",
            f"{name} is a secret and must not be in the environment",
            "use the fields api_key and llama_models_token",
        )
    if value is None:
        raise refusal("environment", "has no value", 'write a value, such as "1"')
    return value


def _cmake_booleans(value: object) -> object:
    """Turn YAML booleans into ON and OFF."""
    if not isinstance(value, Mapping):
        return value
    return {key: ("ON" if item else "OFF") if isinstance(item, bool) else item for key, item in value.items()}


KernelArguments = Annotated[dict[str, str | None], BeforeValidator(partial(_checked, kernel_argument))]
CmakeArguments = Annotated[
    dict[str, str], BeforeValidator(partial(_checked, _cmake_argument)), BeforeValidator(_cmake_booleans)
]
ServerArguments = Annotated[dict[str, str | None], BeforeValidator(partial(_checked, server_argument))]
Environment = Annotated[dict[str, str], BeforeValidator(partial(_checked, _environment_variable))]
