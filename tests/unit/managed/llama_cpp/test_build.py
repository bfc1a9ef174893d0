import json

import pytest

from strixfleet.inventory.schema.settings import LLAMA_CPP_REPOSITORY
from strixfleet.managed.llama_cpp.build import (
    BUILD_ID,
    Build,
    Pinned,
    file_differences,
    other_repository,
    parse_manifest,
    plan_build,
)


def build(**changes: object) -> Build:
    given = {
        "repository": LLAMA_CPP_REPOSITORY,
        "ref": "b10991",
        "backend": "vulkan",
        "extra": {},
        "gfx": "gfx1151",
        "toolchain": "debian 13",
    } | changes
    pin = Pinned(str(given.pop("repository")), str(given.pop("ref")))
    return plan_build(pin, **given)  # type: ignore[arg-type]


def test_the_same_ingredients_give_the_same_name() -> None:
    assert build().id == build().id
    assert build().id.startswith("b10991-vulkan-")
    assert BUILD_ID.match(build().id)


@pytest.mark.parametrize(
    "change",
    [
        {"repository": "https://example.org/llama.cpp"},
        {"ref": "b10992"},
        {"backend": "cpu"},
        {"extra": {"GGML_LTO": "ON"}},
        {"extra": {"GGML_NATIVE": "OFF"}},
        {"extra": {"GGML_NATIVE": None}},
        {"toolchain": "ubuntu 24.04"},
    ],
)
def test_any_other_ingredient_gives_another_name(change: dict[str, object]) -> None:
    assert build(**change).id != build().id


def test_builds_of_upstream_keep_the_names_that_hosts_have() -> None:
    """A fleet that an earlier version provisioned must not build anew."""
    assert build().id == "b10991-vulkan-d2db78ed"
    assert build(repository=LLAMA_CPP_REPOSITORY.removesuffix(".git") + "/").id == build().id


def test_a_commit_is_shortened_in_the_name() -> None:
    assert build(ref="0123456789abcdef" * 2 + "01234567").id.startswith("0123456789ab-vulkan-")


def test_rocm_is_built_for_the_gpu_of_the_profile() -> None:
    assert build(backend="rocm").definitions["GPU_TARGETS"] == "gfx1151"
    assert build(backend="rocm").strict == ("GGML_HIP", "GPU_TARGETS")
    assert "GPU_TARGETS" not in build().definitions


def test_the_inventory_wins_and_its_names_must_be_known() -> None:
    made = build(extra={"GGML_NATIVE": "OFF", "GGML_FOO": "1"})
    assert made.definitions["GGML_NATIVE"] == "OFF"
    assert made.strict == ("GGML_FOO", "GGML_NATIVE", "GGML_VULKAN")


def test_the_rpc_backend_is_never_on_by_default() -> None:
    assert build().definitions["GGML_RPC"] == "OFF"


def manifest(**changes: object) -> str:
    good: dict[str, object] = {
        "id": "b1-cpu-00000000",
        "ref": "b1",
        "commit": "0" * 40,
        "backend": "cpu",
        "definitions": {"GGML_NATIVE": "ON"},
        "files": {"bin/llama-server": "aa", "lib/libx.so": "-> libx.so.0"},
        "build_number": 1,
    }
    return json.dumps(good | changes)


def test_a_manifest_is_read() -> None:
    found = parse_manifest(manifest())
    assert found is not None
    assert found.files["bin/llama-server"] == "aa"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        manifest(files={}),
        manifest(files={"a": 1}),
        manifest(id=3),
        manifest(build_number="x"),
    ],
)
def test_a_damaged_manifest_is_none(text: str | None) -> None:
    assert parse_manifest(text) is None


def test_differing_files_are_named() -> None:
    found = parse_manifest(manifest())
    assert found is not None
    same = {"bin/llama-server": "aa", "lib/libx.so": "-> libx.so.0", "manifest.json": "whatever"}
    assert file_differences(found, same) == {}
    assert file_differences(found, {"bin/llama-server": "bb", "bin/rpc-server": "cc"}) == {
        "changed": ["bin/llama-server"],
        "missing": ["lib/libx.so"],
        "foreign": ["bin/rpc-server"],
    }


def test_a_build_from_another_repository_is_told() -> None:
    mirror = parse_manifest(manifest(repository="https://mirror.example/llama.cpp"))
    assert other_repository(mirror, build()) == "https://mirror.example/llama.cpp"
    assert other_repository(parse_manifest(manifest(repository=LLAMA_CPP_REPOSITORY)), build()) == ""
    assert other_repository(parse_manifest(manifest()), build()) == ""
