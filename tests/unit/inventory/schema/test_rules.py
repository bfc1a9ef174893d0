"""Rules on both sides of their limits: what is just right passes, what is just beyond is refused."""

from datetime import date
from typing import Any

import pytest

from strixfleet.errors import MistakeCode
from strixfleet.inventory.schema.rules import check, check_gtt
from strixfleet.inventory.schema.server_options import INVENTED_ARGUMENTS, SHORT_ARGUMENTS


SHA = "a" * 64
TODAY = date(2026, 11, 21)
MODEL = {"name": "tiny", "path": "/m/t.gguf", "sha256": SHA}
CHAT = {"name": "chat", "model": "tiny", "port": 8080}


def problems(**values: Any) -> list[str]:  # noqa: ANN401 - raw inventory values
    """Return the fields of all mistakes, warnings in brackets."""
    given = {"llama_cpp_ref": "b10991", "llama_models": [MODEL], "llama_server_instances": [CHAT], **values}
    settings, found = check(given, TODAY)
    assert (settings is None) == any(problem.keeps_out for problem in found)
    found = tuple(one for one in found if one.code is not MistakeCode.KNOWN_DEFECT)
    return [f"({problem.field})" if problem.warning else problem.field for problem in found]


def chat(**values: Any) -> list[str]:  # noqa: ANN401
    return problems(llama_server_instances=[{**CHAT, **values}])


def model(**values: Any) -> list[str]:  # noqa: ANN401
    return problems(llama_models=[{**MODEL, **values}])


@pytest.mark.parametrize(
    "pin", ["b1", "b10991", "v0.1.1", "v12.0.345", "0c1e57098a1b2c3d4e5f60718293a4b5c6d7e8f9"]
)
def test_pins(pin: str) -> None:
    assert problems(llama_cpp_ref=pin) == []


@pytest.mark.parametrize(
    "pin",
    [
        *(
            "master",
            "b",
            "b12 ",
            "b12\n",
            "B12",
            "v1.2",
            "v1.2.3-rc1",
            "1.2.3",
            "HEAD",
            "refs/tags/b12",
            "b12^{}",
        ),
        *("0c1e570", "0C1E57098A1B2C3D4E5F60718293A4B5C6D7E8F9", "0c1e57098a1b2c3d4e5f60718293a4b5c6d7e8f90"),
    ],
)
def test_no_pins(pin: str) -> None:
    assert problems(llama_cpp_ref=pin) == ["llama_cpp_ref"]


def test_gtt_up_to_memory_less_reserve() -> None:
    assert problems(hardware_profile="strix-halo-64", kernel_gtt_gib=60) == []
    assert problems(hardware_profile="strix-halo-64", kernel_gtt_gib=61) == ["kernel_gtt_gib"]
    for profile in ("auto", "strix-point", "sandbox"):
        assert problems(hardware_profile=profile, kernel_gtt_gib=252) == []
        assert problems(hardware_profile=profile, kernel_gtt_gib=253) == ["kernel_gtt_gib"]
    assert problems(kernel_gtt_gib=4000) == ["kernel_gtt_gib"]
    assert check_gtt(121, 125.1, 4, "this box") is None
    problem = check_gtt(122, 125.1, 4, "this box")
    assert problem is not None
    assert problem.hint == "write at most 121, or auto"


def test_rocm_with_gttsize_alone() -> None:
    assert problems(kernel_gtt_parameters="gttsize", llama_cpp_backend="rocm") == ["(kernel_gtt_parameters)"]
    assert problems(kernel_gtt_parameters="gttsize") == []


def test_threads_up_to_physical_cores() -> None:
    assert (
        problems(
            hardware_profile="strix-halo-32", llama_server_instances=[{**CHAT, "arguments": {"threads": 8}}]
        )
        == []
    )
    assert chat(arguments={"threads": 16}) == []
    assert chat(arguments={"threads": "24"}) == ["(llama_server_instances[0].arguments.threads)"]
    wrong = problems(
        hardware_profile="strix-halo-128", llama_server_instances=[{**CHAT, "arguments": {"threads": 17}}]
    )
    assert wrong == ["llama_server_instances[0].arguments.threads"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "100.64.0.1", "100.127.255.254"]
)
def test_private_listeners(host: str) -> None:
    assert chat(host=host) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "100.128.0.1", "100.63.255.255", "8.8.8.8"])
def test_public_listeners(host: str) -> None:
    assert chat(host=host) == ["llama_server_instances[0].host"]
    assert problems(sandbox_hardware_root="/run/hw", llama_server_instances=[{**CHAT, "host": host}]) == []


def test_tailnet_needs_tailscale() -> None:
    assert chat(host="tailnet")[0] == "(llama_server_instances[0].host)"
    served = {"tailscale_enabled": True, "llama_server_instances": [{**CHAT, "host": "tailnet"}]}
    assert problems(**served, llama_cpp_ref="b11104") == []
    assert problems(**served, llama_cpp_ref="v0.1.1") == []
    assert problems(**served, llama_cpp_ref="b11103") == ["(llama_server_instances[0].host)"]


@pytest.mark.parametrize("url", ["http://h/a.gguf", "HTTP://h/a.gguf"])
def test_http_only_when_allowed(url: str) -> None:
    entry = {"name": "tiny", "url": url, "sha256": SHA}
    assert problems(llama_models=[entry]) == ["llama_models[0].url"]
    assert problems(llama_models=[entry], llama_models_allow_http=True) == []
    split = {"name": "tiny", "files": [{"url": url, "sha256": SHA}]}
    assert problems(llama_models=[split]) == ["llama_models[0].files[0].url"]


@pytest.mark.parametrize("url", ["http://h/llama.cpp.git", "HTTP://h/llama.cpp.git"])
def test_a_repository_over_http_only_when_allowed(url: str) -> None:
    assert problems(llama_cpp_repository=url) == ["llama_cpp_repository"]
    assert problems(llama_cpp_repository=url, llama_cpp_allow_http=True) == []


def test_http_to_this_very_machine_passes_nobody() -> None:
    assert problems(llama_cpp_repository="http://127.0.0.1:8000/llama.cpp.git") == []


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc/passwd",
            "https://",
            "https:///a",
            "https://me@h/a.gguf",
            "https://me:pw@h/a",
            "ftp://h/a",
        ),
        *("https://h/a b", "javascript:alert(1)", "https://h:99999/a", "https://[::1/a", "//h/a", "h/a"),
    ],
)
def test_urls_refused(url: str) -> None:
    assert problems(llama_models=[{"name": "tiny", "url": url, "sha256": SHA}]) == ["llama_models[0].url"]


@pytest.mark.parametrize("name", ["a", "qwen3-8b", "q.8_k-xl", "0", "a" * 64])
def test_names(name: str) -> None:
    assert (
        problems(
            llama_models=[{**MODEL, "name": name}],
            llama_server_instances=[{**CHAT, "name": name, "model": name}],
        )
        == []
    )


@pytest.mark.parametrize(
    "name",
    ["", "-a", ".a", "_a", "A", "a/b", "a..b", "..", "a b", "a\n", "a@b", "a%i", "a" * 65, "é", "a\\b"],
)
def test_names_refused(name: str) -> None:
    assert model(name=name)[0] == "llama_models[0].name"
    assert chat(name=name) == ["llama_server_instances[0].name"]


@pytest.mark.parametrize("digest", [SHA.upper(), "0" * 64])
def test_digests(digest: str) -> None:
    assert model(sha256=digest) == []


@pytest.mark.parametrize("digest", ["a" * 63, "a" * 65, "g" * 64, f"sha256:{SHA}", f" {SHA}", ""])
def test_digests_refused(digest: str) -> None:
    assert model(sha256=digest) == ["llama_models[0].sha256"]


def test_split_models() -> None:
    files = [{"url": f"https://h/x-0000{n}-of-00002.gguf", "sha256": SHA} for n in (1, 2)]
    assert problems(llama_models=[{"name": "tiny", "files": files}]) == []
    assert problems(llama_models=[{"name": "tiny", "files": files, "sha256": SHA}]) == ["llama_models[0]"]
    assert problems(llama_models=[{"name": "tiny", "files": []}]) == ["llama_models[0]"]
    for url in (
        "https://h/%2e%2e",
        "https://h/a/",
        "https://h/-x.gguf",
        "https://h/a%0ab",
        "https://h/.part",
    ):
        bad = [{"url": url, "sha256": SHA}]
        assert problems(llama_models=[{"name": "tiny", "files": bad}]) == ["llama_models[0].files[0]"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iommu", "pt"),
        ("amd_iommu", "off"),
        ("quiet", None),
        ("quiet", "absent"),
        ("amdgpu.lockup_timeout", "1,2,3,4"),
        ("amdgpu.gttsize", "absent"),
        ("pcie_aspm", 0),
        ("console", "ttyS0,115200n8"),
        ("memmap", "2G$4G"),
        ("acpi_osi", "!Windows2020"),
        ("module_blacklist", "nouveau,radeon"),
        ("module_blacklist", "absent"),
        ("nomodeset", "absent"),
        ("mem", "absent"),
    ],
)
def test_kernel_arguments(name: str, value: object) -> None:
    assert problems(kernel_arguments={name: value}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amd_iommu", "pt"),
        ("amd_iommu", False),
        ("amd_iommu", None),
        ("a b", None),
        ("a=b", "c"),
        ("quiet\n", None),
        ("x", 'a"b'),
        ("x", "a b"),
        ("x", "$(id)"),
        ("x", "a;b"),
        ("x", "a\\b"),
        ("x", ["a"]),
        ("ttm.pages_limit", 1),
        ("amdgpu.gttsize", 1),
        ("", "x"),
        ("-x", "y"),
        ("init", "/bin/sh"),
        ("init", "absent"),
        ("root", "absent"),
        ("ro", "absent"),
        ("mem", "8G"),
        ("nomodeset", None),
        ("systemd.unit", "rescue.target"),
        ("single", None),
        ("module_blacklist", "amdgpu"),
        ("modprobe.blacklist", "nouveau,ttm"),
        ("ttm.pages-limit", 1),
    ],
)
def test_kernel_arguments_refused(name: str, value: object) -> None:
    assert len(problems(kernel_arguments={name: value})) == 1


@pytest.mark.parametrize(
    "name",
    [
        "rpc",
        "tools",
        "agent",
        "model",
        "port",
        "host",
        "api-key",
        "hf-repo",
        "-ngl",
        "ngl x",
        "n_gpu_layers",
        "c",
        "path",
    ],
)
def test_server_arguments_refused(name: str) -> None:
    assert chat(arguments={name: "1"}) == [f"llama_server_instances[0].arguments.{name}"]


@pytest.mark.parametrize(
    "name",
    [
        "LLAMA_ARG_HOST",
        "LLAMA_ARG_TOOLS",
        "LLAMA_API_KEY",
        "LD_PRELOAD",
        "LD_AUDIT",
        "GGML_BACKEND_PATH",
        "PATH",
        "a",
        "A-B",
        "1A",
        "A=B",
    ],
)
def test_environment_refused(name: str) -> None:
    assert chat(environment={name: "1"}) == [f"llama_server_instances[0].environment.{name}"]


@pytest.mark.parametrize(
    "name", ["RADV_PERFTEST", "AMD_VULKAN_ICD", "VK_DRIVER_FILES", "GGML_VK_VISIBLE_DEVICES"]
)
def test_environment(name: str) -> None:
    assert chat(environment={name: 0}) == []


@pytest.mark.parametrize(("given", "want"), [(1, 1), ("3", 3), ("25%", "25%"), ("100%", "100%")])
def test_batches(given: object, want: object) -> None:
    settings, _ = check({"llama_cpp_ref": "b1", "rollout_batch": given}, TODAY)
    assert settings is not None
    assert settings.rollout_batch == want


@pytest.mark.parametrize("given", [0, "0%", "101%", -1, True, "half", "25 %", 2.5, None, [1]])
def test_batches_refused(given: object) -> None:
    assert problems(rollout_batch=given) == ["rollout_batch"]


def test_waivers_end() -> None:
    waiver = {"item": "kernel:x", "reason": "r"}
    assert problems(audit_waivers=[{**waiver, "expires": "2026-11-21"}]) == []
    assert problems(audit_waivers=[{**waiver, "expires": date(2026, 11, 20)}]) == [
        "(audit_waivers[0].expires)"
    ]
    assert problems(audit_waivers=[{**waiver, "item": "x", "expires": "2027-01-01"}]) == [
        "audit_waivers[0].item"
    ]


SECRET = "tskey-auth-geheim"


@pytest.mark.parametrize(
    "values",
    [
        {"tailscale_auth_key": f"{SECRET}\nx"},
        {"tailscale_auth_key": [SECRET]},
        {"llama_server_instances": [{**CHAT, "api_key": [SECRET]}]},
        {"llama_server_instances": [f"api_key={SECRET}"]},
        {"llama_models": [{**MODEL, "path": None, "url": f"https://me:{SECRET}@h/a"}]},
        {"llama_models": [{**MODEL, "path": None, "url": f"ftp://me:{SECRET}@h/a"}]},
        {"llama_cpp_repository": f"https://{SECRET}@h/a b"},
    ],
)
def test_mistakes_do_not_show_secrets(values: dict[str, Any]) -> None:
    _, found = check({"llama_cpp_ref": "b1", "llama_models": [MODEL], **values}, TODAY)
    assert found
    for problem in found:
        assert SECRET not in problem.message + problem.hint


FLASH_ATTN = "llama_server_instances[0].arguments.flash-attn"
DRAFT = "llama_server_instances[0].draft_model"
COMMIT = "0c1e57098a1b2c3d4e5f60718293a4b5c6d7e8f9"


@pytest.mark.parametrize(
    ("pin", "value", "fields"),
    [
        ("b6324", None, []),
        ("b6324", "on", [FLASH_ATTN]),
        ("b6325", None, [FLASH_ATTN]),
        ("b6325", "on", []),
        ("v0.3.36", None, [FLASH_ATTN]),
        (COMMIT, None, [f"({FLASH_ATTN})"]),
        (COMMIT, "auto", []),
    ],
)
def test_flash_attn_has_a_value_exactly_where_the_pin_wants_one(
    pin: str, value: str | None, fields: list[str]
) -> None:
    instance = {**CHAT, "arguments": {"flash-attn": value}}
    assert problems(llama_cpp_ref=pin, llama_server_instances=[instance]) == fields


@pytest.mark.parametrize(
    ("pin", "arguments", "fields"),
    [
        ("b9000", {}, []),
        ("b10991", {}, [DRAFT]),
        ("v0.3.36", {}, [DRAFT]),
        (COMMIT, {}, [f"({DRAFT})"]),
        ("b10991", {"spec-type": "draft-simple"}, []),
    ],
)
def test_a_draft_model_that_the_pin_would_not_use_is_refused(
    pin: str, arguments: dict[str, str], fields: list[str]
) -> None:
    instance = {**CHAT, "draft_model": "tiny", "arguments": arguments}
    assert problems(llama_cpp_ref=pin, llama_server_instances=[instance]) == fields


@pytest.mark.parametrize("name", [*SHORT_ARGUMENTS, *INVENTED_ARGUMENTS])
def test_options_that_llama_server_lacks_are_refused(name: str) -> None:
    assert chat(arguments={name: "1"}) == [f"llama_server_instances[0].arguments.{name}"]


@pytest.mark.parametrize("name", SHORT_ARGUMENTS.values())
def test_the_long_name_of_a_short_option_is_accepted(name: str) -> None:
    assert chat(arguments={name: "1"}) == []


@pytest.mark.parametrize(
    "names", [["one-00001-of-00001.gguf"], ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"], ["plain.gguf"]]
)
def test_whole_models_are_accepted(names: list[str]) -> None:
    files = [{"host_path": f"/m/{name}", "sha256": SHA} for name in names]
    assert problems(llama_models=[{"name": "tiny", "files": files}]) == []


def test_the_store_name_of_a_part_counts_where_it_is_copied() -> None:
    files = [{"path": f"/m/{n}.gguf", "name": f"a-0000{n}-of-00002.gguf", "sha256": SHA} for n in (1, 2)]
    assert problems(llama_models=[{"name": "tiny", "files": files}]) == []
    unnamed = [{"path": f"/m/{n}.gguf", "sha256": SHA} for n in (1, 2)]
    assert problems(llama_models=[{"name": "tiny", "files": unnamed}]) == ["llama_models[0]"]


def defects(pin: str, **values: Any) -> dict[str, tuple[bool, str]]:  # noqa: ANN401
    """Return {what is said of the pin: whether it is a warning, the hint}."""
    given = {"llama_cpp_ref": pin, "llama_models": [MODEL], "llama_server_instances": [CHAT], **values}
    settings, found = check(given, TODAY)
    assert settings is not None, "a bad pin keeps no verb out: a host must be audited and rolled back"
    return {one.message: (one.warning, one.hint) for one in found if one.code is MistakeCode.KNOWN_DEFECT}


def waiver(item: str, expires: str) -> dict[str, Any]:
    return {"audit_waivers": [{"item": item, "reason": "patched by us", "expires": expires}]}


def test_a_pin_below_the_security_floor_is_refused() -> None:
    found = defects("b8940")
    (message,) = [text for text, (warning, _hint) in found.items() if not warning]
    assert message.startswith(
        "b8940 lets any client write outside the server's memory (CVE-2026-21869) (https:"
    )
    assert found[message][1].startswith("pin b8941, or accept it by an entry of audit_waivers for ")
    assert not any(not warning for warning, _hint in defects("b8941").values())


@pytest.mark.parametrize("profile", ["auto", "strix-halo-128", "strix-point"])
def test_a_pin_within_a_defects_range_is_refused_with_the_nearest_good_one(profile: str) -> None:
    found = defects("b10500", llama_cpp_backend="rocm", hardware_profile=profile)
    ((message, (warning, hint)),) = found.items()
    assert not warning
    assert message.startswith("b10500 answers nonsense beyond a micro-batch")
    assert "https://github.com/ggml-org/llama.cpp/issues/28211" in message
    assert hint.startswith("pin b10865, or take backend vulkan, or accept it")
    assert defects("b10500", llama_cpp_backend="vulkan") == {}
    assert defects("b10865", llama_cpp_backend="rocm", hardware_profile=profile) == {}


def test_a_slow_or_loud_build_is_a_warning() -> None:
    ((message, (warning, hint)),) = defects("b10800").items()
    assert "halves the prefill" in message
    assert warning
    assert hint == "pin b10867, or write lazy-mode: off into the arguments"


def test_a_waiver_accepts_one_defect_until_its_date() -> None:
    rocm, item = {"llama_cpp_backend": "rocm"}, "llama_cpp:defect.rocm-host-buffers"
    assert defects("b10500", **rocm, **waiver(item, "2026-11-21")) == {}
    assert len(defects("b10500", **rocm, **waiver(item, "2026-11-20"))) == 1
    assert len(defects("b10500", **rocm, **waiver("llama_cpp:current", "2027-01-01"))) == 1


def test_an_option_with_a_hole_is_refused_in_every_build() -> None:
    sleepy = {"llama_server_instances": [{**CHAT, "arguments": {"sleep-idle-seconds": 60}}]}
    ((message, (warning, hint)),) = defects("b11100", **sleepy).items()
    assert "CVE-2026-43631" in message
    assert not warning
    assert hint.startswith("leave sleep-idle-seconds out of the arguments, or accept it")


@pytest.mark.parametrize("pin", ["v0.3.36", "c" * 40])
def test_of_a_pin_without_a_number_nothing_is_said(pin: str) -> None:
    assert defects(pin, llama_cpp_backend="rocm") == {}
