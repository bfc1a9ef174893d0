"""Tell which hosts one build serves: what a host is like, and the commit that its pin names."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from strixfleet.errors import ChangeFailed, FleetError
from strixfleet.fleet.class_builds import ClassBuilds
from strixfleet.inventory.ansible.task_vars import inventory_folder
from strixfleet.managed.llama_cpp.build_class import class_of
from strixfleet.tools.pinned_source import pinned_source


class ActionModule(ActionBase):
    """
    Ask the host, resolve the pin here, and return `class`, `commit`, `needed`, `load` and `pins`.

    Where the controller cannot reach a repository on the web there is no class: each host fetches and builds.
    """

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Change nothing; in check mode nothing is asked, because compilers may be still to be installed."""
        result = super().run(tmp, task_vars)
        if self._task.check_mode:
            return {**result, "changed": False, "needed": True, "class": ""}
        answer: dict[str, Any] = self._execute_module(task_vars=task_vars)
        if answer.get("failed") or answer.get("unreachable") or not answer.get("needed"):
            return {**result, **answer}
        wanted = self._task.args
        address, ref = str(wanted["repository"]), str(wanted["ref"])
        try:
            ClassBuilds(inventory_folder(task_vars or {})).folder.mkdir(parents=True, exist_ok=True)
            commit = pinned_source(address, ref).commit
        except (ChangeFailed, OSError) as error:
            if not address.startswith(("https://", "http://")):
                raise AnsibleActionFail(str(error)) from None
            warning = f"{error}: each host fetches and builds llama.cpp for itself"
            return {**result, **answer, "class": "", "warnings": [warning]}
        except FleetError as error:
            raise AnsibleActionFail(str(error)) from None
        found = class_of(str(wanted["id"]), commit, answer.pop("machine"))
        return {**result, **answer, "class": found, "commit": commit}
