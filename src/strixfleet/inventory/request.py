"""What is asked of an inventory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InventoryRequest:
    """Which inventory, which hosts of it, and what is needed to read it."""

    sources: tuple[str, ...] = ()
    limit: str | None = None
    extra_vars: tuple[str, ...] = ()
    ask_vault_pass: bool = False
    vault_password_files: tuple[str, ...] = ()
