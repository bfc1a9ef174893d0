"""Who builds, told from what each host of a play has answered; an odd answer of one host harms no other."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


Told = dict[str, dict[str, Any]]


@pytest.fixture
def class_hosts(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("plugin_utils.class_hosts")


def told(load: object, build_class: str = "x", **more: object) -> dict[str, Any]:
    return {"__llama_cpp_class": {"needed": True, "class": build_class, "load": load, **more}}


def variables(hosts: Told, *lost: str) -> dict[str, Any]:
    left = [name for name in hosts if name not in lost]
    return {"hostvars": hosts, "ansible_play_hosts": left, "ansible_play_hosts_all": [*hosts]}


def test_a_host_that_has_the_build_does_not_build(class_hosts: ModuleType) -> None:
    hosts: Told = {
        "has-it": {"__llama_cpp_class": {"needed": False}},
        "idle": told(0.1),
        "busy": told(0.9),
        "lost": told(0.0),
        "other": told(0.0, "y"),
    }
    play = variables(hosts, "lost")
    assert class_hosts.builder(play, "x", None) == "idle"
    assert class_hosts.builder(play, "x", "busy") == "busy"
    assert class_hosts.builder(play, "x", "has-it") == "idle"
    assert class_hosts.builder(play, "y", None) == "other"


@pytest.mark.parametrize("answer", [{}, {"__llama_cpp_class": None}, told(None), told([]), told("0")])
def test_an_odd_answer_is_passed_over(class_hosts: ModuleType, answer: dict[str, Any]) -> None:
    assert class_hosts.builder(variables({"odd": answer, "good": told(1)}), "x", None) == "good"


def test_the_reason_of_the_builder_is_told(class_hosts: ModuleType) -> None:
    built = {"__llama_cpp_built": {"failed": True, "msg": "no semicolon"}}
    hosts: Told = {"builder": {**told(0.1), **built}, "waits": told(0.9), "other": told(0.5, "y")}
    play = variables(hosts, "builder")
    said = class_hosts.why_not_built(play, "x")
    assert said == "builder builds for this host, too, and failed: no semicolon"
    assert "no host has built for this one" in class_hosts.why_not_built(play, "y")
