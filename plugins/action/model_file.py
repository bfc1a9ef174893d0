"""Run `model_file` on the host, and send the file where it comes from the controller and is not there yet."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.plugins.action import ActionBase

from strixfleet.on_host import files


MODULE = "strixfleet.fleet.model_file"
TOKEN_HOSTS = ("huggingface.co", "hf.co")


def environment_token(url: str) -> str:
    """Return HF_TOKEN where the address is on the hub, which it was made for, and nothing elsewhere."""
    host = urlsplit(url).hostname or ""
    known = any(host == name or host.endswith(f".{name}") for name in TOKEN_HOSTS)
    return os.environ.get("HF_TOKEN", "") if known else ""


class ActionModule(ActionBase):
    """Ask the module what is there; send a file of the controller where it is missing or different."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        if arguments.get("origin") == "url" and not arguments.get("token"):
            arguments["token"] = environment_token(str(arguments["source"]))
        result = self._module(arguments, variables)
        if result.get("failed") or not result.get("needs_file"):
            return result
        source = Path(str(arguments["source"])).expanduser()
        if not source.is_absolute():
            source = Path(str(variables.get("inventory_dir") or ".")) / source
        if problem := self._problem(source, str(arguments["sha256"]), int(result["spare_bytes"])):
            return {"failed": True, "changed": False, "msg": problem}
        return self._send(source, arguments, variables)

    def _module(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args=arguments, task_vars=variables
        )
        return found

    def _problem(self, source: Path, sha256: str, spare_bytes: int) -> str:
        """Say what is wrong with the file on the controller, before anything is sent."""
        spare = max(spare_bytes, 0)
        try:
            size = source.stat().st_size
            if size > spare:
                return f"{source}: has {size} bytes, the host can spare {spare}; hint: free some space"
            found = files.sha256(str(source))
        except OSError as error:
            return f"{source}: {error.strerror}; hint: a model's path names a file on the controller"
        if found != sha256:
            return f"{source}: has sha256 {found}, the inventory says {sha256}; hint: correct path or sha256"
        return ""

    def _send(self, source: Path, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Send the file, after removing what is left of transfers that were cut."""
        folder = self._make_tmp_path()
        above, _slash, own = folder.rstrip("/").rpartition("/")
        stem = f"{above}/strixfleet-{arguments['sha256'][:32]}-"
        incoming = f"{stem}{own}"
        try:
            self._on_host(f"rm -f {shlex.quote(stem)}*")
            self._transfer_file(str(source), incoming)
            return self._module({**arguments, "incoming": incoming}, variables)
        finally:
            self._on_host(f"rm -f {shlex.quote(incoming)}")
            self._remove_tmp_path(folder)

    def _on_host(self, command: str) -> None:
        self._low_level_execute_command(command, sudoable=False)
