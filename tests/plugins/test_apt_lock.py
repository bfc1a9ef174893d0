"""Another apt is waited for with a line that names it, and not for ever."""

from collections.abc import Callable
from types import ModuleType
from typing import Any


Load = Callable[[str], ModuleType]


class Host:
    """A host whose apt is locked for so many calls."""

    def __init__(self, locked: int) -> None:
        self.locked = locked
        self.now_s = 0.0
        self.said: list[str] = []

    def execute(self) -> dict[str, Any]:
        self.now_s += 10
        self.locked -= 1
        if self.locked >= 0:
            return {"failed": True, "msg": "apt-get update failed: locked", "locked": "process 7 (apt-get)"}
        return {"changed": True}

    def run(self, load: Load) -> dict[str, Any]:
        wait = load("plugin_utils.apt_lock")
        answer: dict[str, Any] = wait.until_unlocked(self.execute, self.said.append, lambda: self.now_s)
        return answer


def test_who_is_waited_for_is_said_at_once_and_again(plugin: Load) -> None:
    host = Host(locked=4)
    assert host.run(plugin) == {"changed": True}
    assert host.said[0] == "waiting for apt, which process 7 (apt-get) holds"
    assert len(host.said) == 2


def test_it_is_not_waited_for_ever(plugin: Load) -> None:
    host = Host(locked=1000)
    answer = host.run(plugin)
    assert answer["failed"]
    assert answer["msg"] == (
        "apt is still held by process 7 (apt-get) after 300 s; hint: wait until it ends, or see what it does"
    )
    assert len(host.said) == 10
