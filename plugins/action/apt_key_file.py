"""Put the key of an apt repository on the host, after its fingerprint was checked on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from strixfleet.managed.tailscale.openpgp import armor, fingerprints, read_key


KEY_LIMIT_BYTES = 1 << 20


def checked_key(path: Path, wanted: str) -> str:
    """Return a key file's armoured content; it holds exactly the one key that is wanted."""
    try:
        if path.stat().st_size > KEY_LIMIT_BYTES:
            raise AnsibleActionFail(f"{path}: is too large for a key; hint: name the file with the key alone")
        data = read_key(path.read_bytes())
        found = fingerprints(data)
    except OSError as error:
        raise AnsibleActionFail(
            f"{path}: {error.strerror}; hint: download the repository's key to it"
        ) from None
    except ValueError as error:
        raise AnsibleActionFail(f"{path}: {error}; hint: download the repository's key again") from None
    if found != [wanted]:
        raise AnsibleActionFail(
            f"{path}: holds {' and '.join(found)}, wanted is {wanted} alone; hint: find out why before you"
            " use this key or change the fingerprint"
        )
    return armor(data)


class ActionModule(ActionBase):
    """Check, then copy by ansible.builtin.copy with its check mode and diff."""

    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Copy the key."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = self._task.args
        source = Path(str(arguments["src"])).expanduser()
        if not source.is_absolute():
            source = Path(str(variables.get("inventory_dir") or ".")) / source
        content = checked_key(source, str(arguments["fingerprint"]))
        task = self._task.copy()
        task.action = "ansible.builtin.copy"
        task.args = {
            "content": content,
            "dest": str(arguments["dest"]),
            "mode": "0644",
            "owner": "root",
            "group": "root",
        }
        copy = self._shared_loader_obj.action_loader.get(
            "ansible.builtin.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result.update(copy.run(task_vars=task_vars))
        return result
