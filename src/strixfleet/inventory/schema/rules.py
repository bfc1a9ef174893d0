"""
Check one host's values and report every mistake.

The types check single values. The rules here check several together; they read raw values and skip those of
the wrong shape, so that both report in one run.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from urllib.parse import urlsplit

from pydantic import ValidationError

from strixfleet.errors import MistakeCode
from strixfleet.inventory.hardware import PROFILES
from strixfleet.inventory.known_defects import tagged_build
from strixfleet.inventory.schema.addresses import THIS_MACHINE, is_private_listener
from strixfleet.inventory.schema.field_types import quoted
from strixfleet.inventory.schema.pin_rules import Release, check_defects, check_instance
from strixfleet.inventory.schema.problems import Problem, from_validation
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.inventory.schema.spelling import nearest
from strixfleet.on_host.switch.option_aliases import SEVERAL_HOSTS


Values = Mapping[str, object]
MEMORY_MAX_GIB = 256  # that any chip served can have (Strix Point; Strix Halo stops at 128)
CORES_MAX = 16  # physical cores of the largest chip served (Ryzen AI Max+ 395)
PIN_EXAMPLE = "write llama_cpp_ref: b10991 (any release tag of llama.cpp) or a 40-digit commit"


def check(values: Values, today: date) -> tuple[HostSettings | None, tuple[Problem, ...]]:
    """Return the settings unless something keeps them from being used, and all problems and warnings."""
    settings: HostSettings | None = None
    problems: list[Problem] = []
    try:
        settings = HostSettings.model_validate(dict(values))
    except ValidationError as error:
        problems.extend(from_validation(error))
    for rule in RULES:
        problems.extend(rule(values))
    problems.extend(_waivers(values, today))
    build = tagged_build(str(values.get("llama_cpp_ref")))
    problems.extend(check_defects(values, build, accepted_items(values, today)))
    if any(problem.keeps_out for problem in problems):
        settings = None
    return settings, tuple(problems)


def check_gtt(gib: int, memory_gib: float, reserve_gib: int, profile: str) -> Problem | None:
    """Refuse GPU-addressable memory that leaves less than the reserve to the system."""
    most = int(memory_gib - reserve_gib)
    if gib <= most:
        return None
    message = f"{gib} GiB is too large: {profile} has {memory_gib:g} GiB, and the system needs {reserve_gib}"
    return Problem(("kernel_gtt_gib",), message, f"write at most {most}, or auto")


def _entries(values: Values, name: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Walk over the well-formed entries of a list."""
    found = values.get(name)
    if isinstance(found, Sequence) and not isinstance(found, str):
        yield from ((index, entry) for index, entry in enumerate(found) if isinstance(entry, Mapping))


def _doubles(values: Values, name: str, key: str, hint: str) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, entry in _entries(values, name):
        value = entry.get(key)
        if not isinstance(value, str | int):
            continue
        first = seen.setdefault(str(value), index)
        if first != index:
            yield Problem(
                (name, index, key), f"{quoted(value)} is already used by {name}[{first}] of this host", hint
            )


def _unique(values: Values) -> Iterator[Problem]:
    yield from _doubles(values, "llama_models", "name", "give each model its own name")
    yield from _doubles(values, "llama_server_instances", "name", "give each instance its own name")
    yield from _doubles(values, "llama_server_instances", "port", "give each instance its own port")


def _catalogue(values: Values) -> Iterator[Problem]:
    names = [str(entry["name"]) for _, entry in _entries(values, "llama_models") if "name" in entry]
    wanted: list[tuple[tuple[str | int, ...], object]] = [
        (("llama_server_instances", index, key), entry.get(key))
        for index, entry in _entries(values, "llama_server_instances")
        for key in ("model", "draft_model")
    ]
    bench = values.get("smoke_bench")
    if isinstance(bench, Mapping):
        wanted.append((("smoke_bench", "model"), bench.get("model")))
    for path, name in wanted:
        if isinstance(name, str) and name not in names:
            close = nearest(name, names)
            known = (
                f"the catalogue has {', '.join(names)}"
                if names
                else "the catalogue is empty: add it to llama_models"
            )
            yield Problem(
                path, f"the model {quoted(name)} is not in llama_models", f"write {close}" if close else known
            )


def _gtt(values: Values) -> Iterator[Problem]:
    profile, gib = PROFILES.get(str(values.get("hardware_profile"))), values.get("kernel_gtt_gib")
    text = str(gib)
    if not isinstance(gib, bool) and text.isascii() and text.isdigit():
        known = profile if profile and profile.memory_gib else None
        memory_gib, reserve_gib = (known.memory_gib, known.reserve_gib) if known else (MEMORY_MAX_GIB, 4)
        name = known.name if known else "the largest machine"
        problem = check_gtt(int(text[:9]), memory_gib or MEMORY_MAX_GIB, reserve_gib, name)
        if problem:
            yield problem
    if values.get("kernel_gtt_parameters") == "gttsize" and values.get("llama_cpp_backend") == "rocm":
        yield Problem(
            ("kernel_gtt_parameters",),
            "with gttsize alone ROCm sees only half of the memory: its pool is limited by ttm.pages_limit",
            "write auto, both or ttm",
            warning=True,
        )


def _threads(values: Values) -> Iterator[Problem]:
    profile = PROFILES.get(str(values.get("hardware_profile")))
    cores = profile.physical_cores if profile else None
    for index, entry in _entries(values, "llama_server_instances"):
        arguments = entry.get("arguments")
        for key in ("threads", "threads-batch") if isinstance(arguments, Mapping) else ():
            text = str(arguments.get(key)) if isinstance(arguments, Mapping) else ""
            if text.isascii() and text.isdigit() and int(text[:9]) > (cores or CORES_MAX):
                box = profile.name if profile and cores else "the largest box"
                yield Problem(
                    ("llama_server_instances", index, "arguments", key),
                    f"{text[:9]} threads are more than the {cores or CORES_MAX} cores of {box}: far slower",
                    f"write at most {cores or CORES_MAX}, or drop it",
                    warning=cores is None,
                )


def _is_true(value: object) -> bool:
    return str(value).lower() in {"true", "yes", "on", "1"}


def _repository_encryption(values: Values) -> Iterator[Problem]:
    address = values.get("llama_cpp_repository")
    if not isinstance(address, str) or _is_true(values.get("llama_cpp_allow_http")):
        return
    try:
        parts = urlsplit(address)
    except ValueError:  # the field itself is refused
        return
    if parts.scheme == "http" and parts.hostname not in THIS_MACHINE:
        hint = "write https://… or ssh://…, or set llama_cpp_allow_http: true"
        yield Problem(("llama_cpp_repository",), "http:// is not authenticated", hint)


def _encryption(values: Values) -> Iterator[Problem]:
    if _is_true(values.get("llama_models_allow_http")):
        return
    hint = "write https://…, or set llama_models_allow_http: true"
    for index, entry in _entries(values, "llama_models"):
        sources: list[tuple[tuple[str | int, ...], object]] = [
            (("llama_models", index, "url"), entry.get("url"))
        ]
        sources += [
            (("llama_models", index, "files", number, "url"), part.get("url"))
            for number, part in _entries(entry, "files")
        ]
        for path, url in sources:
            if isinstance(url, str) and url.lower().startswith("http://"):
                yield Problem(path, f"{quoted(url)} is not https", hint)


def _listeners(values: Values) -> Iterator[Problem]:
    for index, entry in _entries(values, "llama_server_instances"):
        host, path = entry.get("host"), ("llama_server_instances", index, "host")
        try:
            private = not isinstance(host, str) or is_private_listener(host)
        except ValueError:
            continue  # the type reports it
        if not private and not values.get("sandbox_hardware_root"):
            yield Problem(
                path,
                f"{quoted(host)} can be reached from outside this host and the tailnet",
                "write 127.0.0.1, or tailnet with tailscale_enabled: true",
            )
        if host == "tailnet" and not values.get("tailscale_enabled"):
            yield Problem(
                path,
                "needs the tailnet, which this host does not join",
                "set tailscale_enabled: true",
                warning=True,
            )
        pin = re.fullmatch(r"b(\d+)", str(values.get("llama_cpp_ref")))
        if host == "tailnet" and pin and int(pin[1]) < SEVERAL_HOSTS:
            yield Problem(
                path,
                f"{pin[0]} cannot listen on several addresses and will serve loopback only",
                f"pin b{SEVERAL_HOSTS} or newer to serve the tailnet as well",
                warning=True,
            )


def _pin(values: Values) -> Iterator[Problem]:
    if values.get("llama_cpp_ref") is None:
        serving = bool(values.get("llama_server_instances"))
        message = "is missing" if serving else "is missing: llama.cpp is not provisioned here"
        yield Problem(("llama_cpp_ref",), message, PIN_EXAMPLE, warning=not serving, code=MistakeCode.MISSING)


def _release(values: Values) -> Iterator[Problem]:
    release = Release.of(values.get("llama_cpp_ref"))
    if release is None:
        return
    for index, entry in _entries(values, "llama_server_instances"):
        yield from check_instance(index, entry, release)


def _last_day(waiver: Mapping[str, object]) -> date | None:
    """Return the last day of a waiver; None where the type reports it."""
    expires = waiver.get("expires")
    try:
        return expires if isinstance(expires, date) else date.fromisoformat(str(expires))
    except ValueError:
        return None


def accepted_items(values: Values, today: date) -> frozenset[str]:
    """Return the items of waivers that still count."""
    found = ((str(entry.get("item")), _last_day(entry)) for _, entry in _entries(values, "audit_waivers"))
    return frozenset(item for item, last in found if last is not None and last >= today)


def _waivers(values: Values, today: date) -> Iterator[Problem]:
    for index, entry in _entries(values, "audit_waivers"):
        last, item = _last_day(entry), entry.get("item")
        if isinstance(item, str) and ":" not in item:
            hint = "copy it from `strixfleet audit`, such as kernel:ttm.pages_limit"
            yield Problem(
                ("audit_waivers", index, "item"), f"{quoted(item)} is not the id of an audit item", hint
            )
        if last is not None and last < today:
            yield Problem(
                ("audit_waivers", index, "expires"),
                f"expired on {last}: the difference counts again",
                "remove the waiver, or give it a new date",
                warning=True,
            )


RULES: tuple[Callable[[Values], Iterator[Problem]], ...] = (
    _unique,
    _catalogue,
    _gtt,
    _threads,
    _encryption,
    _repository_encryption,
    _listeners,
    _pin,
    _release,
)
