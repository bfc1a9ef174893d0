"""Build on one host of each class, from source that the controller sends, and keep the build here."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.strixfleet.fleet.plugins.plugin_utils.class_hosts import SendsFiles, builder
from strixfleet.errors import ChangeFailed, FleetError
from strixfleet.fleet.class_builds import MOST_BYTES, ClassBuilds, Parcel
from strixfleet.inventory.ansible.task_vars import inventory_folder
from strixfleet.tools import git
from strixfleet.tools.pinned_source import pinned_source


OWN = ("class", "build_host")  # arguments that the module does not see


class ActionModule(SendsFiles):
    """
    Run the module where this host builds; else another of its class does, or has done so before.

    ssh keys and mirrors of the controller stay on the controller. Nothing is sent in check mode.
    """

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module says; unchanged where this host is not the one that builds."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        wanted = {name: value for name, value in self._task.args.items() if name not in OWN}
        wanted["built_on"] = str(variables["inventory_hostname"])
        told = self._task.args["class"]
        try:
            if not told["needed"]:
                answer = {"changed": False}
            elif not told["class"]:
                answer = self._execute_module(module_args=wanted, task_vars=variables)
            else:
                answer = self._build_for_class(wanted, told, variables)
        except FleetError as error:
            raise AnsibleActionFail(str(error)) from None
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return {**result, **answer}

    def _build_for_class(
        self, wanted: dict[str, Any], told: dict[str, Any], variables: dict[str, Any]
    ) -> dict[str, Any]:
        """Build, unless another host does or has done."""
        build_class = str(told["class"])
        chosen = builder(variables, build_class, self._task.args.get("build_host"))
        if chosen != wanted["built_on"]:
            return {"changed": False, "msg": f"left to {chosen}, a host of the same class"}
        builds = ClassBuilds(inventory_folder(variables))
        with builds.held(build_class):
            if kept := builds.recorded(build_class):
                return {"changed": False, "msg": f"{kept.built_on} has built it before"}
            source = pinned_source(str(wanted["repository"]), str(told["commit"]))
            known = [str(one) for one in told["pins"]]
            wanted["bundle"] = self._send(str(source.bundle_after(known)), "source.bundle")
            wanted["commit"] = source.commit
            wanted["build_number"] = git.build_number(git.git_dir(source.repository), source.commit)
            wanted["parcel"] = self._remote_path("build.tar")
            answer: dict[str, Any] = self._execute_module(module_args=wanted, task_vars=variables)
            if "sha256" in answer:
                self._keep(builds, build_class, answer, wanted)
        return answer

    def _keep(
        self, builds: ClassBuilds, build_class: str, answer: dict[str, Any], wanted: dict[str, Any]
    ) -> None:
        """Bring the build here."""
        size_bytes = int(answer["size_bytes"])
        if size_bytes > MOST_BYTES:
            raise ChangeFailed(f"the build has {size_bytes >> 30} GiB, more than {MOST_BYTES >> 30}")
        self._connection.fetch_file(wanted["parcel"], str(builds.incoming(build_class)))
        parcel = Parcel(wanted["id"], wanted["commit"], wanted["built_on"], str(answer["sha256"]), size_bytes)
        builds.keep(build_class, parcel)
