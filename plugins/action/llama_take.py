"""Bring a build that another host of the class has made from the controller to this one."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.strixfleet.fleet.plugins.plugin_utils.class_hosts import SendsFiles, why_not_built
from strixfleet.errors import FleetError
from strixfleet.fleet.class_builds import ClassBuilds
from strixfleet.inventory.ansible.task_vars import inventory_folder


class ActionModule(SendsFiles):
    """Send the build and run the module; fail with the builder's reason where there is none."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module says; nothing is done where the host has the build."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        wanted = {name: value for name, value in self._task.args.items() if name != "class"}
        told = self._task.args["class"]
        if self._task.check_mode or not told["needed"] or not told["class"]:
            return {**result, "changed": False}
        build_class = str(told["class"])
        builds = ClassBuilds(inventory_folder(variables))
        try:
            with builds.held(build_class):
                parcel = builds.taken(build_class)
            if parcel is None:
                raise AnsibleActionFail(why_not_built(variables, build_class))
            wanted["parcel"] = self._send(str(builds.path(build_class)), "build.tar")
            wanted.update(sha256=parcel.sha256, commit=parcel.commit)
            answer: dict[str, Any] = self._execute_module(module_args=wanted, task_vars=variables)
        except FleetError as error:
            raise AnsibleActionFail(str(error)) from None
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return {**result, **answer}
