"""Parameters of kernel modules that files set: modprobe.d, and the initramfs's list of modules."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from strixfleet.managed.kernel.command_line import words_of
from strixfleet.on_host.questions import Answers, Ask, Question


# In the order of kmod (modprobe.d(5)): a file hides those of the same name in the folders after it.
MODPROBE = tuple(
    Question(Ask.GLOB, f"{folder}/modprobe.d/*.conf")
    for folder in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
)
INITRAMFS = Question(Ask.READ, "/etc/initramfs-tools/modules")  # `ttm pages_limit=1`: initramfs-tools(7)
QUESTIONS = (*MODPROBE, INITRAMFS)


@dataclass(frozen=True, slots=True)
class Option:
    """One parameter that a line of a file sets; `where` is `file:line`."""

    where: str
    module: str
    parameter: str
    value: str


def module_options(answers: Answers) -> Iterator[Option]:
    """Return all parameters that files set, in the order in which they are read."""
    files: dict[str, tuple[str, str]] = {}
    for question in MODPROBE:
        found = answers[question].value
        for path, text in found.items() if isinstance(found, dict) else ():
            files.setdefault(path.rpartition("/")[2], (path, str(text or "")))
    for _name, (path, text) in sorted(files.items()):
        for number, line in _joined_lines(text):
            keyword, _, rest = line.strip().partition(" ")
            if keyword == "options":
                yield from _options(f"{path}:{number}", rest)
    for number, line in _joined_lines(str(answers[INITRAMFS].value or "")):
        yield from _options(f"{INITRAMFS.subject}:{number}", line.partition("#")[0])


def _joined_lines(text: str) -> Iterator[tuple[int, str]]:
    """Return each line with its number; one that ends in a backslash goes on in the next."""
    began, whole = 1, ""
    for number, line in enumerate(text.splitlines(), 1):
        began = began if whole else number
        whole += line.removesuffix("\\").replace("\t", " ")
        if not line.endswith("\\"):
            yield began, whole
            whole = ""


def _options(where: str, text: str) -> Iterator[Option]:
    module, *words = [*words_of(text), ""]
    for word in words:
        name, _, value = word.partition("=")
        if re.fullmatch(r"[\w-]+", name):
            yield Option(where, module.replace("-", "_"), name.replace("-", "_"), value)
