"""The same inventory as YAML and as INI has the same mistakes; what is set twice hides no other."""

import re
from pathlib import Path

from strixfleet.errors import MistakeCode
from strixfleet.inventory.load import examine
from strixfleet.inventory.request import InventoryRequest


YAML = """\
all:
  children:
    halo:
      hosts:
        h1:
          ansible_host: 192.0.2.1
          ansible_port: 22
          ansible_port: 2222
      vars:
        llama_cpp_ref: main
        kernel_gtt_gib: 96
        kernel_gtt_gib: 64
        hardware_profil: auto
    spare:
      hosts:
        h1:
          ansible_host: 192.0.2.2
"""
INI = """\
[halo]
h1 ansible_host=192.0.2.1 ansible_port=22 ansible_port=2222
[halo:vars]
llama_cpp_ref=main
kernel_gtt_gib=96
kernel_gtt_gib=64
hardware_profil=auto
[spare]
h1 ansible_host=192.0.2.2
"""


def mistakes_of(path: Path, text: str) -> set[tuple[MistakeCode, str, str, str]]:
    path.write_text(text)
    return {
        (one.code, one.host, one.field, re.sub(r", first in line \d+", "", one.message))
        for one in examine(InventoryRequest((str(path),))).mistakes
    }


def test_both_have_the_same_mistakes(tmp_path: Path) -> None:
    have = mistakes_of(tmp_path / "hosts.yml", YAML)
    assert have == mistakes_of(tmp_path / "hosts.ini", INI)
    assert {(code, field) for code, _, field, _ in have} == {
        (MistakeCode.SET_TWICE, "ansible_host"),
        (MistakeCode.SET_TWICE, "ansible_port"),
        (MistakeCode.SET_TWICE, "kernel_gtt_gib"),
        (MistakeCode.VALUE, "llama_cpp_ref"),
        (MistakeCode.UNKNOWN_NAME, "hardware_profil"),
    }


def test_a_host_of_two_groups_may_have_one_value_twice(tmp_path: Path) -> None:
    same = YAML.replace("192.0.2.2", "192.0.2.1")
    assert "ansible_host" not in {field for _, _, field, _ in mistakes_of(tmp_path / "hosts.yml", same)}


def test_aliases_set_nothing_twice(tmp_path: Path) -> None:
    text = """\
all:
  children:
    one: {hosts: {h1: &own {ansible_host: 192.0.2.1}}, vars: &pin {llama_cpp_ref: b10991}}
    two: {hosts: {h1: *own}, vars: *pin}
"""
    assert mistakes_of(tmp_path / "hosts.yml", text) == set()


def test_a_bare_template_that_breaks_the_syntax_is_named(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all:\n  vars:\n    llama_cpp_ref: {{ pin }}-x\n    a: 1\n")
    (mistake,) = examine(InventoryRequest((str(tmp_path),))).mistakes
    assert (mistake.line, mistake.hint) == (3, 'write NAME: "{{ … }}"')
