"""The menu of a grub.cfg, and which of its entries boots: as grub-core/normal/menu.c resolves it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from strixfleet.managed.kernel.command_line import words_of


_SOURCE = re.compile(r"### BEGIN (\S+) ###")
_LINUX = re.compile(r"linux(?:efi|16)?\s+\S+[ \t]*(.*)")
_DEFAULT = re.compile(r"set default=(.*)")
_REPLACED = re.compile(r"""if \[ "x\$default" = '(.*?)' \]; then default='(.*?)'; fi;""")
_NUMBER = re.compile(r"\s*(0[xX][0-9a-fA-F]+|\d+)")
_NEXT = "${next_entry}"
_SAVED = "${saved_entry}"
_DEEPEST = 8


@dataclass(slots=True)
class Entry:
    """
    One entry, or a submenu with entries of its own.

    `source` is the script of /etc/grub.d that wrote it, "" where grub.cfg does not say. An entry has several
    command lines where GRUB chooses by an `if`.
    """

    title: str
    id: str
    source: str
    lines: list[str] = field(default_factory=list)
    entries: "list[Entry] | None" = None

    @property
    def words(self) -> list[str]:
        """All words of its command lines."""
        return [word for line in self.lines for word in words_of(line)]

    @property
    def from_configuration(self) -> bool:
        """Tell whether its command line is made of GRUB_CMDLINE_LINUX and GRUB_CMDLINE_LINUX_DEFAULT."""
        return not self.source or "_linux" in self.source

    @property
    def for_recovery(self) -> bool:
        """Tell whether it is a recovery entry, which has GRUB_CMDLINE_LINUX alone."""
        return "-recovery-" in self.id


@dataclass(frozen=True, slots=True)
class Menu:
    """All entries in order, and what grub.cfg sets `default` to."""

    entries: Sequence[Entry]
    default: str
    replaced: Mapping[str, str]

    def walk(self) -> Iterator[Entry]:
        """Return every entry that boots something, those of submenus too."""
        waiting = list(self.entries)
        while waiting:
            entry = waiting.pop(0)
            if entry.entries is None:
                yield entry
            else:
                waiting[:0] = entry.entries

    def booted(self, environment: Mapping[str, str]) -> tuple[Entry | None, str]:
        """Return the entry that boots next, and the variable of grubenv that chooses it, if one does."""
        if chosen := environment.get("next_entry"):
            return _chosen(self.entries, chosen), "next_entry"
        if self.default != _SAVED:
            return _chosen(self.entries, self.replaced.get(self.default, self.default)), ""
        saved = environment.get("saved_entry", "")
        return _chosen(self.entries, self.replaced.get(saved, saved)), "saved_entry"


def _chosen(entries: Sequence[Entry], choice: str) -> Entry | None:
    """Return the entry of a number, a title or an id; `>` leads into submenus; the first where none is."""
    for _level in range(_DEEPEST):
        first, choice = _split(choice)
        entry = _numbered(entries, first) if _NUMBER.match(first) else _named(entries, first)
        entry = entry or next(iter(entries), None)
        if entry is None or entry.entries is None:
            return entry
        entries = entry.entries
    return None


def _split(choice: str) -> tuple[str, str]:
    """Split off what chooses in this menu; `>>` stands for a `>` of a title."""
    found = re.match(r"((?:[^>]|>>)*)(?:>(?!>))?(.*)", choice, re.DOTALL)
    return (found[1].replace(">>", ">"), found[2]) if found else (choice, "")


def _numbered(entries: Sequence[Entry], text: str) -> Entry | None:
    """Return the entry of a number; like GRUB's strtoul, read what a title begins with as one."""
    digits = _NUMBER.match(text)
    number = int(digits[1][:12], 16 if digits[1][:2].lower() == "0x" else 10) if digits else len(entries)
    return entries[number] if number < len(entries) else None


def _named(entries: Sequence[Entry], text: str) -> Entry | None:
    return next((one for one in entries if text and text in (one.title, one.id)), None)


def parse_menu(grub_cfg: str) -> Menu:
    """Read the entries of a grub.cfg."""
    top: list[Entry] = []
    open_blocks: list[Entry | None] = []  # None is a block that is not an entry, such as a function
    default, source = "0", ""
    for raw in grub_cfg.splitlines():
        line = raw.strip()
        if found := _SOURCE.match(line):
            source = found[1]
        elif line.startswith(("menuentry ", "submenu ")) and line.endswith("{"):
            entry = _entry(line, source)
            parent = next((one for one in reversed(open_blocks) if one and one.entries is not None), None)
            (parent.entries if parent and parent.entries is not None else top).append(entry)
            open_blocks.append(entry)
        elif re.match(r"function\s.*\{$", line):
            open_blocks.append(None)
        elif line == "}" and open_blocks:
            open_blocks.pop()
        elif (found := _LINUX.match(line)) and open_blocks and open_blocks[-1]:
            open_blocks[-1].lines.append(found[1].strip())
        elif (found := _DEFAULT.match(line)) and not open_blocks:
            value = "".join(words_of(found[1])[:1])
            default = default if value == _NEXT else value
    replaced = {_unquoted(old): _unquoted(new) for old, new in _REPLACED.findall(grub_cfg)}
    return Menu(top, default, replaced)


def _unquoted(text: str) -> str:
    return text.replace("'\\''", "'")


def _entry(line: str, source: str) -> Entry:
    """Read the head of an entry: its title, and the id after the option that names one."""
    kind, title, *rest = [*words_of(line), "", ""]
    identity = ""
    for option, value in pairwise(rest):
        if option in {"$menuentry_id_option", "--id"}:
            identity = value
        elif option.startswith("--id="):
            identity = option.removeprefix("--id=")
    return Entry(title, identity, source, entries=[] if kind == "submenu" else None)


def parse_environment(grubenv: str | None) -> dict[str, str]:
    """Read the variables of a grubenv block."""
    pairs = (line.partition("=") for line in (grubenv or "").splitlines() if not line.startswith("#"))
    return {name: value.replace("\\\\", "\\") for name, equals, value in pairs if equals}
