"""Install packages, and say who holds apt while another one works."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.strixfleet.fleet.plugins.plugin_utils.apt_lock import PROGRESS, until_unlocked


class ActionModule(ActionBase):
    """Run the module until apt is free."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module says."""
        result = super().run(tmp, task_vars)
        host = (task_vars or {}).get("inventory_hostname", "")
        answer = until_unlocked(
            lambda: self._execute_module(task_vars=task_vars),
            lambda text: Display().display(f"{PROGRESS}{host}: {text}"),
        )
        return {**result, **answer}
