"""What the actions around a shared build have in common: who is of a class, and files that go to a host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible.plugins.action import ActionBase

from strixfleet.managed.llama_cpp.build_class import Member, builder_of


CLASS, BUILT = "__llama_cpp_class", "__llama_cpp_built"  # what the role registers


def members(variables: dict[str, Any], hosts: list[str]) -> Iterator[Member]:
    """Return which of these hosts need a build, as each has told in this play."""
    for name in hosts:
        found = variables["hostvars"][name].get(CLASS)
        if not isinstance(found, dict) or not found.get("needed") or not found.get("class"):
            continue
        if isinstance(load := found.get("load"), int | float):
            yield Member(name, str(found["class"]), load)


def builder(variables: dict[str, Any], build_class: str, wish: str | None) -> str | None:
    """Return which host that is still in the play builds for a class."""
    return builder_of(build_class, members(variables, variables["ansible_play_hosts"]), wish)


def why_not_built(variables: dict[str, Any], build_class: str) -> str:
    """Say which host of a class should have built, and why it has not."""
    for one in members(variables, variables["ansible_play_hosts_all"]):
        answer = variables["hostvars"][one.name].get(BUILT)
        failed = isinstance(answer, dict) and (answer.get("failed") or answer.get("unreachable"))
        if one.build_class == build_class and failed:
            return f"{one.name} builds for this host, too, and failed: {answer.get('msg', 'see above')}"
    return "no host has built for this one; hint: run it again"


class SendsFiles(ActionBase):
    """An action that brings files of the controller into its temporary folder on the host."""

    def _remote_path(self, name: str) -> str:
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        return str(shell.join_path(shell.tmpdir, name))

    def _send(self, path: str, name: str) -> str:
        remote = self._remote_path(name)
        self._transfer_file(path, remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return remote
