"""Send the pinned source along where the repository is not one that hosts can fetch themselves."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from strixfleet.errors import FleetError
from strixfleet.tools import git


KEPT_BUNDLES = 4


class ActionModule(ActionBase):
    """
    Run the module; hosts fetch http(s) themselves, everything else is fetched here and sent as a bundle.

    So ssh keys and mirrors of the controller stay on the controller. Nothing is sent in check mode.
    """

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Resolve, bundle and send where that is needed, then run the module on the host."""
        result = super().run(tmp, task_vars)
        wanted = dict(self._task.args)
        if not str(wanted["repository"]).startswith(("https://", "http://")):
            try:
                self._add_bundle(wanted)
            except FleetError as error:
                raise AnsibleActionFail(str(error)) from None
        result.update(self._execute_module(module_args=wanted, task_vars=task_vars))
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _add_bundle(self, wanted: dict[str, Any]) -> None:
        address, ref = str(wanted["repository"]), str(wanted["ref"])
        local = git.local_repository(address)
        found = git.resolve(local, ref)
        wanted["commit"] = found.commit
        wanted["build_number"] = git.build_number(git.git_dir(local), found.commit)
        if self._task.check_mode:
            return
        cache = git.cache_folder()
        bundle = cache / f"{found.commit}.bundle"
        if not bundle.is_file():
            git.bundle(local, ref, bundle)
            for old in sorted(cache.glob("*.bundle"), key=lambda path: path.stat().st_mtime)[:-KEPT_BUNDLES]:
                old.unlink(missing_ok=True)
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        remote = shell.join_path(shell.tmpdir, "source.bundle")
        self._transfer_file(str(bundle), remote)
        self._fixup_perms2((shell.tmpdir, remote))
        wanted["bundle"] = remote
