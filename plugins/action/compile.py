"""Hand the compiled state of a host to the roles: same probe, same compilation as `strixfleet audit`."""

from __future__ import annotations

import json
import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from strixfleet.errors import FleetError, LockHeld
from strixfleet.findings.items import waive
from strixfleet.fleet.controller_files import controller_facts
from strixfleet.fleet.handed_state import state_for_roles
from strixfleet.hosts.host_program import PROGRAM, read_answer
from strixfleet.hosts.probe import probe_argv, read_answers
from strixfleet.inventory.ansible.task_vars import host_from_vars, inventory_folder, name_mistakes
from strixfleet.managed.compiled import compile_host, questions_for
from strixfleet.tools.git import revision_of
from strixfleet.tools.lock_owner import VARIABLE, is_dead


HIDDEN = {"_ansible_no_log": True}  # as include_vars hides what it read


def _known(name: str, variables: dict[str, Any]) -> dict[str, Any]:
    """Return the state that this play compiled before, else the one that the command handed on."""
    state = variables.get("strixfleet_state")
    if isinstance(state, dict) and "deeds" in state:
        return dict(state)
    handed = variables.get("strixfleet_states")
    states = json.loads(Path(str(handed)).read_text(encoding="utf-8")) if handed else {}
    return dict(states.get(name, {}))


class ActionModule(ActionBase):
    """
    Probe, compile, and return what each role needs; changes nothing, also outside check mode.

    What was compiled holds secrets, so that result alone is hidden: why it failed, or why the host is
    unreachable, is shown. What the probe answers holds none: of files with secrets it tells the digest.
    """

    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return `deeds` by role and kind, `differences`, `reboot_due` and what is recorded when applied."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        name = str(variables["inventory_hostname"])
        again = boolean(self._task.args.get("again", False))
        if not again and (known := _known(name, variables)):
            return {**result, **known, **HIDDEN, "changed": False}
        try:
            if not again and not self._task.check_mode:
                self._refuse_held(name)
            host = host_from_vars(name, variables, self._loader)
            controller = controller_facts(host.settings)
            warnings = [str(mistake) for mistake in name_mistakes(name, variables)]
            python = host.connection.python or "python3"
            root = host.settings.sandbox_hardware_root
            argv = probe_argv(questions_for(host), root=root, python=python)
            done = self._low_level_execute_command(shlex.join(argv))
            answers = read_answers(done["stdout"], host=name, stderr=done.get("stderr", ""))
            state = compile_host(host, answers, controller)
            rows = waive(state.differences(answers), host.settings.audit_waivers, datetime.now(UTC).date())
        except AnsibleConnectionFailure:
            raise
        except FleetError as error:
            raise AnsibleActionFail(str(error)) from None
        revision = revision_of(str(inventory_folder(variables)))
        known = state_for_roles(state, answers, rows, revision, self._consent(variables))
        return {**result, **HIDDEN, "changed": False, "warnings": warnings, **known}

    def _refuse_held(self, name: str) -> None:
        """Refuse a host that somebody upgrades or provisions: what is on trial there is theirs to change."""
        done = self._low_level_execute_command(f"test ! -x {PROGRAM} || {PROGRAM} status")
        if not done["stdout"].strip():
            return
        lock = read_answer(done["stdout"], done.get("stderr", ""), host=name).lock
        if lock and lock["owner"] != os.environ.get(VARIABLE) and not is_dead(str(lock["owner"])):
            raise LockHeld(
                f"{lock['owner']} upgrades or provisions this host since {lock['since']}",
                where=name,
                hint="try again when that is done; `strixfleet unlock` if nobody is at work",
            )

    def _consent(self, variables: dict[str, Any]) -> Any:
        """Return which servers may be taken away, as the operator wrote it."""
        return self._templar.template(variables.get("strixfleet_retire"))
