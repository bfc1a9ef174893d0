"""Each value is found where the winning definition is, also where Ansible leaves no tag on it."""

from pathlib import Path

import pytest

from strixfleet.inventory.load import examine, load
from strixfleet.inventory.request import InventoryRequest


HOSTS = """\
all:
  children:
    fast:
      hosts:
        h1:
          tailscale_enabled: false
        h2:
      vars:
        tuning_enabled: true
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "host", "place"),
    [
        ("tuning_enabled", "h1", "group_vars/fast.yml:1"),  # files win over what is inline
        ("tailscale_enabled", "h1", "hosts.yml:6"),  # a host wins over its groups
        ("tailscale_enabled", "h2", "group_vars/all.yml:2"),
        ("gpu_stack_hold_packages", "h2", "host_vars/h2.yml:1"),
        ("gpu_stack_hold_packages", "h1", "group_vars/all.yml:3"),
    ],
)
def test_a_boolean_is_found_in_the_definition_that_wins(
    name: str, host: str, place: str, tmp_path: Path
) -> None:
    write(
        tmp_path,
        hosts=HOSTS,
        group_vars__all="llama_cpp_ref: b10991\ntailscale_enabled: false\ngpu_stack_hold_packages: true\n",
        group_vars__fast="tuning_enabled: false\n",
        host_vars__h2="gpu_stack_hold_packages: false\n",
    )
    fleet = load(InventoryRequest((str(tmp_path),)))
    assert str(fleet.host(host).origins[name]) == f"{tmp_path}/{place}"


def mistakes_of(folder: Path, **extra: tuple[str, ...]) -> list[tuple[str, int, str]]:
    found = examine(InventoryRequest((str(folder),), **extra)).mistakes  # type: ignore[arg-type]
    return [(Path(one.file).name, one.line, one.field) for one in found]


def test_a_boolean_below_an_alias_is_found_at_its_anchor(tmp_path: Path) -> None:
    text = "llama_cpp_ref: b10991\ncommon: &common\n  quiet: null\n  iommu: off\nkernel_arguments: *common\n"
    write(tmp_path, hosts=HOSTS, group_vars__all=text)
    assert mistakes_of(tmp_path) == [("all.yml", 4, "kernel_arguments.iommu")]


def test_a_wrong_boolean_at_the_top(tmp_path: Path) -> None:
    write(tmp_path, hosts=HOSTS, group_vars__all="llama_cpp_ref: b10991\n\nkernel_gtt_gib: true\n")
    assert mistakes_of(tmp_path) == [("all.yml", 3, "kernel_gtt_gib")]


def test_ansible_knows_the_file_alone_of_what_is_in_json(tmp_path: Path) -> None:
    write(tmp_path, hosts=HOSTS)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.json").write_text(
        '{\n"llama_cpp_ref": "b10991",\n"kernel_gtt_gib": "x"}\n'
    )
    assert mistakes_of(tmp_path) == [("all.json", 0, "kernel_gtt_gib")]


def test_what_cannot_be_read_again_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, hosts=HOSTS, group_vars__all="llama_cpp_ref: b10991\n")
    extra = ("{kernel_arguments: {amdgpu.lockup_timeout: 010}}",)
    assert mistakes_of(tmp_path, extra_vars=extra) == []
