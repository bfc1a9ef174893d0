"""Vault passwords for Ansible's loader: from files, programs, ansible.cfg's identities or a prompt."""

import getpass
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from strixfleet.errors import UsageError


VAULT_PROMPT = "Vault password: "
PROMPTS = frozenset({"prompt", "prompt_ask_vault_pass"})


def give_vault_secrets(loader: Any, *, ask: bool, password_files: tuple[str, ...]) -> None:
    """
    Load every secret and hand them to the loader.

    ansible.cli does the same, but its import refuses locales that are not UTF-8.
    """
    from ansible.parsing.vault import VaultSecretsContext

    secrets = [
        (identity, _secret(loader, identity, source)) for identity, source in _identities(password_files)
    ]
    if ask:
        secrets.append(("default", _asked(VAULT_PROMPT)))
    VaultSecretsContext._current = VaultSecretsContext(secrets)  # noqa: SLF001 - initialize() refuses a second load
    loader.set_vault_secrets(secrets)


def _identities(password_files: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Return identities with their sources, `dev@file` or `file`, ansible.cfg's first as in Ansible."""
    from ansible import constants

    configured = constants.DEFAULT_VAULT_PASSWORD_FILE
    for text in (
        *constants.DEFAULT_VAULT_IDENTITY_LIST,
        *password_files,
        *([configured] if configured else []),
    ):
        identity, mark, source = str(text).partition("@")
        yield (identity or "default", source) if mark else ("default", str(text))


def _secret(loader: Any, identity: str, source: str) -> Any:
    from ansible.errors import AnsibleError
    from ansible.parsing.vault import get_file_vault_secret

    if source in PROMPTS:
        return _asked(f"Vault password ({identity}): ")
    try:
        secret = get_file_vault_secret(filename=source, vault_id=identity, loader=loader)
        secret.load()
    except AnsibleError as error:
        raise UsageError(f"no vault password: {error.message}", hint="check --vault-password-file") from None
    return secret


def _asked(prompt: str) -> Any:
    from ansible.parsing.vault import VaultSecret

    return VaultSecret(typed_password(prompt).encode())


@lru_cache(maxsize=8)
def typed_password(prompt: str) -> str:
    """Ask for a vault password once per run, however often the inventory is loaded; a play gets the same."""
    answer = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not answer:
        raise UsageError("no vault password was given", hint="use --vault-password-file FILE")
    return answer
