"""Tell which hosts of an inventory are ours: those that carry a variable of strixfleet."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

from strixfleet.inventory.schema.settings import FIELDS


class ActionModule(ActionBase):
    """Look at a host's variables; nothing is asked of the host itself."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return `carried`, the variables of ours that the inventory gives the host."""
        result = super().run(tmp, task_vars)
        for_every_host = load_extra_vars(self._loader)  # `-e` says nothing about whose a host is
        carried = sorted(set(FIELDS).intersection(task_vars or {}).difference(for_every_host))
        return {**result, "changed": False, "carried": carried}
