"""GRUB as Debian and Ubuntu configure it: /etc/default/grub and its drop-ins, made into grub.cfg."""

import re
from collections.abc import Iterator, Mapping

from strixfleet.managed.kernel.command_line import LOADER_ADDS, occurrences, plain_name, words_of
from strixfleet.managed.platforms.boot_loaders.boot_loader import Boot
from strixfleet.managed.platforms.boot_loaders.grub_menu import Entry, parse_environment, parse_menu
from strixfleet.managed.things.file import Template
from strixfleet.on_host.questions import Answers, Ask, Question


CONFIGURATION = "/etc/default/grub"
DROP_INS = Question(Ask.GLOB, f"{CONFIGURATION}.d/*.cfg")
SETTINGS = Question(Ask.RUN, "grub_settings")  # what grub-mkconfig's shell makes of these files
ENVIRONMENT = Question(Ask.READ, "/boot/grub/grubenv")
# What 10_linux of Debian and Ubuntu puts on a line beside the configuration.
SCRIPT_ADDS = frozenset(
    {"boot", "dis_ucode_ldr", "init", "nomodeset", "panic", "recovery"}
    | {"ro", "root", "rootflags", "rw", "single"}
)
_VT_HANDOFF = "$vt_handoff"  # Ubuntu's, which becomes vt.handoff=7
_SPECIAL = re.compile(r"([$;&|<>{}()\\])")  # to GRUB's script language, in a word without quotes
_ASSIGNED = re.compile(r"\s*(?:export\s+)?GRUB_CMDLINE_LINUX_DEFAULT=")


class Grub:
    """GRUB 2."""

    name = "grub"
    tool = "/usr/sbin/update-grub"
    drop_in = "/etc/default/grub.d/zz-strixfleet.cfg"
    generated = "/boot/grub/grub.cfg"
    boot_questions: tuple[Question, ...] = (Question(Ask.READ, generated), ENVIRONMENT)
    configuration_questions: tuple[Question, ...] = (Question(Ask.READ, CONFIGURATION), DROP_INS, SETTINGS)

    def source(self, arguments: Mapping[str, str | None]) -> Template:
        """Return our drop-in for the arguments; None takes an argument away."""
        words = [n if v == "" else f"{n}={v}" for n, v in arguments.items() if v is not None]
        patterns = [re.sub("[-_]", "[-_]", name) for name in arguments]
        escaped = [_SPECIAL.sub(r"\\\1", word) for word in words]
        return Template(f"host{self.drop_in}.j2", {"patterns": patterns, "words": escaped})

    def boots(self, answers: Answers) -> Boot | None:
        """Return what the default entry boots, which need not be the first: saved, named, or chosen once."""
        entry, variable = self._booted(answers)
        if entry is None:
            return None
        line = entry.lines[0] if entry.lines else ""
        if entry.lines and entry.from_configuration and not entry.for_recovery:
            return Boot(line)
        made = f"an entry of {entry.source}" if entry.source else "an entry"
        if entry.for_recovery:
            made = "a recovery entry"
        cure = {
            "saved_entry": "run `grub-set-default 0`, or write the arguments into that entry",
            "next_entry": "run `grub-editenv - unset next_entry`: it was chosen for the next boot alone",
            "": f"set GRUB_DEFAULT in {CONFIGURATION}, or write the arguments into that entry",
        }[variable]
        chosen = f" ({variable} in {ENVIRONMENT.subject})" if variable else ""
        why = f"{entry.title!r}{chosen} boots, {made} that kernel arguments do not reach: {cure}"
        return Boot(line, why)

    def left_running(self, answers: Answers, running: str) -> list[str]:
        """
        Return what the kernel was booted with and its entry no longer says, by name: a reboot ends it.

        Nothing where grub.cfg leaves words to variables of GRUB, such as tuned's.
        """
        entry, _ = self._booted(answers)
        words = entry.words if entry else []
        if not words or any(word.startswith("$") and word != _VT_HANDOFF for word in words):
            return []
        kept = {plain_name(word) for word in words} | LOADER_ADDS
        return [word for word in words_of(running) if plain_name(word) not in kept]

    def outdated(self, answers: Answers) -> list[str]:
        """Compare every entry that is made from the configuration with it: content, not file times."""
        lines = dict(re.findall(r"^([a-z]+)=(.*)$", str(answers[SETTINGS].value), re.MULTILINE))
        if not {"always", "normally"} <= lines.keys():
            return []
        normal = f"{lines['always']} {lines['normally']}"
        recovery = f"{lines.get('recovery', '')} {lines['always']}"
        found: dict[str, None] = {}
        for entry in parse_menu(answers.text(Ask.READ, self.generated) or "").walk():
            if entry.from_configuration and entry.lines:
                intended = recovery if entry.for_recovery else normal
                found |= dict.fromkeys(_differing(entry.lines[0], intended))
        return [*found]

    def set_in(self, answers: Answers, name: str) -> list[str]:
        """Return where /etc/default/grub and the drop-ins set an argument, in either spelling."""
        pattern = _mention_of(name)
        return [f"{path}:{number}" for path, number, line in self._lines(answers) if pattern.search(line)]

    def overruled_by(self, answers: Answers, name: str) -> str:
        """Return the last line after our drop-in that assigns the variable anew, or sets the argument."""
        pattern, winner = _mention_of(name), ""
        for path, number, line in self._lines(answers):
            anew = _ASSIGNED.match(line) and not re.search(r"\$\{?GRUB_CMDLINE_LINUX_DEFAULT\b", line)
            if path > self.drop_in and (anew or pattern.search(line)):
                winner = f"{path}:{number}"
        return winner

    def _lines(self, answers: Answers) -> Iterator[tuple[str, int, str]]:
        """Return each line of the administrator's that is not a comment, in the order in which GRUB reads."""
        found = answers[DROP_INS].value
        drop_ins = sorted(found.items()) if isinstance(found, dict) else ()
        for path, text in ((CONFIGURATION, answers[Question(Ask.READ, CONFIGURATION)].value), *drop_ins):
            for number, line in enumerate(str(text or "").splitlines(), 1):
                if path != self.drop_in and not line.lstrip().startswith("#"):
                    yield path, number, line

    def _booted(self, answers: Answers) -> tuple[Entry | None, str]:
        menu = parse_menu(answers.text(Ask.READ, self.generated) or "")
        return menu.booted(parse_environment(answers.text(ENVIRONMENT.verb, ENVIRONMENT.subject)))


def _differing(line: str, intended: str) -> list[str]:
    """Return the names that stand otherwise on an entry's line than in the configuration."""
    names = {plain_name(word): None for word in (*words_of(intended), *words_of(line))}
    own = {name for name in names if occurrences(intended, name) is not None}
    return [
        name
        for name in names
        if (name in own or name not in SCRIPT_ADDS)
        and not name.startswith("$")
        and occurrences(line, name) != occurrences(intended, name)
    ]


def _mention_of(name: str) -> re.Pattern[str]:
    spelt = re.sub(r"[-_]", "[-_]", re.escape(name).replace(r"\-", "-"))
    return re.compile(rf"(?<![\w.-]){spelt}(?![\w.-])")


GRUB = Grub()
