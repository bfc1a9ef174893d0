import pytest

from strixfleet.managed.llama_cpp.build_class import Member, builder_of, class_of


MACHINE = {"native": "-march=znver5", "libc": "glibc 2.41", "cc": "cc (Debian 14.2.0-19) 14.2.0"}
COMMIT = "a" * 40


def test_what_is_alike_is_of_one_class() -> None:
    turned = dict(reversed(MACHINE.items()))
    assert class_of("b1-cpu-00000001", COMMIT, MACHINE) == class_of("b1-cpu-00000001", COMMIT, turned)


@pytest.mark.parametrize(
    ("build_id", "commit", "machine"),
    [
        ("b1-cpu-00000002", COMMIT, MACHINE),
        ("b1-cpu-00000001", "b" * 40, MACHINE),
        ("b1-cpu-00000001", COMMIT, {**MACHINE, "native": "-march=znver4"}),
        ("b1-cpu-00000001", COMMIT, {**MACHINE, "libc": "glibc 2.42"}),
        ("b1-cpu-00000001", COMMIT, {**MACHINE, "hipcc": "HIP version: 7.1"}),
    ],
)
def test_any_other_ingredient_is_another_class(
    build_id: str, commit: str, machine: dict[str, object]
) -> None:
    assert class_of(build_id, commit, machine) != class_of("b1-cpu-00000001", COMMIT, MACHINE)


def test_the_idlest_builds_unless_the_inventory_names_one_of_the_class() -> None:
    members = [Member("a", "x", 0.5), Member("b", "x", 0.1), Member("c", "y", 0.0)]
    assert builder_of("x", members, None) == "b"
    assert builder_of("x", members, "a") == "a"
    assert builder_of("x", members, "c") == "b"
    assert builder_of("z", members, "a") is None
