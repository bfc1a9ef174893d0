"""Hand the compiled state of a host to the roles: same probe, same compilation as `strixfleet audit`."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from strixfleet.errors import FleetError
from strixfleet.findings.items import Excuse, Status, waive
from strixfleet.hosts.probe import probe_argv, read_answers
from strixfleet.inventory.ansible.task_vars import host_from_vars, inventory_folder, name_mistakes
from strixfleet.managed.compiled import compile_host, questions_for
from strixfleet.tools.git import revision_of


KNOWN = frozenset({Status.OK, Status.WAIVED})


class ActionModule(ActionBase):
    """Probe, compile, and return what each role needs; changes nothing, also outside check mode."""

    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return `role_vars` by role, `differences`, `reboot_due` and `digest`."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        name = str(variables["inventory_hostname"])
        try:
            host = host_from_vars(name, variables, self._loader)
            root = host.settings.sandbox_hardware_root
            argv = probe_argv(questions_for(host), root=root)
            done = self._low_level_execute_command(shlex.join(argv))
            answers = read_answers(done["stdout"], host=name, stderr=done.get("stderr", ""))
            state = compile_host(host, answers)
            excuses = [Excuse(one.item, one.reason, one.expires) for one in host.settings.audit_waivers]
            rows = waive(state.differences(answers), excuses, datetime.now(UTC).date())
        except AnsibleConnectionFailure:
            raise
        except FleetError as error:
            raise AnsibleActionFail(str(error)) from None
        return {
            **result,
            "changed": False,
            "warnings": [str(mistake) for mistake in name_mistakes(name, variables)],
            "role_vars": state.role_vars(),
            "digest": state.digest,
            "revision": revision_of(str(inventory_folder(variables))),
            "applied_stale": state.since_applied != "same",
            "simulated": state.facts.simulated or "",
            "boot_id": state.facts.boot_id,
            "differences": [row.to_json() for row in rows if row.status not in KNOWN],
            "reboot_due": any(row.status is Status.PENDING_REBOOT for row in rows),
        }
