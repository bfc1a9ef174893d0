"""Bring about what is alike for every aspect: accounts, files, links, packages, units and kernel values."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.strixfleet.fleet.plugins.plugin_utils.apt_lock import PROGRESS, until_unlocked


Deeds = Mapping[str, Sequence[dict[str, Any]]]
Call = tuple[str, dict[str, Any]]
PATHS = {
    "absent": "absent",
    "folder": "folders",
    "file": "files",
    "secret_file": "secret_files",
    "link": "links",
}


def account_calls(deeds: Deeds) -> Iterator[Call]:
    """Make groups, then accounts; an account keeps the further groups that it has."""
    for account in deeds.get("account", ()):
        for group in (account["name"], *account["groups"]):
            yield "ansible.builtin.group", {"name": group, "system": True}
        yield (
            "ansible.builtin.user",
            {
                "name": account["name"],
                "comment": account["comment"],
                "group": account["name"],
                "groups": account["groups"],
                "append": True,
                "home": account["home"],
                "create_home": False,
                "shell": account["shell"],
                "system": True,
            },
        )


def path_calls(deeds: Deeds) -> Iterator[Call]:
    """Write folders, files and links, then take away what must not be there: all in one call."""
    rows: dict[str, Any] = {name: list(deeds.get(kind, ())) for kind, name in PATHS.items()}
    rows["absent"] = [one["path"] for one in rows["absent"]]
    if any(rows.values()):
        yield "strixfleet.fleet.paths", rows


def package_calls(deeds: Deeds, hint: str) -> Iterator[Call]:
    """Install, then hold or release."""
    if packages := list(deeds.get("package", ())):
        yield "strixfleet.fleet.apt_packages", {"packages": packages, "hint": hint}
    held, released = ([one["name"] for one in deeds.get(kind, ())] for kind in ("hold", "release"))
    if held or released:
        yield "strixfleet.fleet.apt_hold", {"held": held, "released": released}


def unit_calls(deeds: Deeds, *, reload: bool) -> Iterator[Call]:
    """Stop and mask what must not run, then start and enable what must."""
    for one in deeds.get("stopped_unit", ()):
        stopped = {"name": one["name"], "state": "stopped", "enabled": False}
        yield "ansible.builtin.systemd_service", stopped
        if one["masked"]:
            yield "ansible.builtin.systemd_service", {"name": one["name"], "masked": True}
    for one in deeds.get("unit", ()):
        started = {"name": one["name"], "state": "started", "enabled": True, "masked": False}
        started["daemon_reload"] = reload or one.get("reload", False)
        yield "ansible.builtin.systemd_service", started


def value_calls(deeds: Deeds, root: str) -> Iterator[Call]:
    """Write the values of the running kernel."""
    if values := list(deeds.get("value", ())):
        yield "strixfleet.fleet.paths", {"values": values, "kernel_root": root}


class ActionModule(ActionBase):
    """Run the modules that the deeds call for, in one order; stop at the first that fails."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return whether anything changed, which names, and the differences."""
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        deeds, hint, root = arguments["deeds"], arguments.get("hint", ""), arguments.get("kernel_root", "")
        if problems := [one["text"] for one in deeds.get("problem", ())]:
            raise AnsibleActionFail("; ".join(problems))
        self._changed: list[str] = []
        self._diff: list[dict[str, Any]] = []
        self._variables = task_vars
        failed = (
            self._run(account_calls(deeds))
            or self._run(path_calls(deeds))
            or self._run(package_calls(deeds, hint))
            or self._run_units(deeds)
            or self._run(value_calls(deeds, root))
        )
        done = {"changed": bool(self._changed), "changed_names": self._changed, "diff": self._diff}
        return {**result, **failed, **done}

    def _run_units(self, deeds: Deeds) -> dict[str, Any]:
        """Start units; in check mode one that a package or a file is still to bring cannot be looked at."""
        if self._task.check_mode and self._changed:
            return {}
        return self._run(unit_calls(deeds, reload=bool(self._changed)))

    def _say(self, text: str) -> None:
        host = (self._variables or {}).get("inventory_hostname", "")
        Display().display(f"{PROGRESS}{host}: {text}")

    def _run(self, calls: Iterator[Call]) -> dict[str, Any]:
        """Run modules one after another; return the answer of the one that failed, if any."""
        for name, arguments in calls:
            execute = functools.partial(
                self._execute_module, module_name=name, module_args=arguments, task_vars=self._variables
            )
            answer: dict[str, Any] = until_unlocked(execute, self._say)
            answer.pop("invocation", None)
            if answer.get("failed") or answer.get("unreachable"):
                return answer
            if answer.get("changed"):
                names = answer.get("changed_paths") or answer.get("changed_names")
                self._changed += names or [str(arguments.get("name") or name.rpartition(".")[2])]
                diff = answer.get("diff") or []
                self._diff += diff if isinstance(diff, list) else [diff]
        return {}
