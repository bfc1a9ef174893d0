"""What else decides what runs here: others' files beside ours, what others may write, units and records."""

from collections.abc import Iterator
from pathlib import PurePath

from strixfleet.findings.items import Cure
from strixfleet.managed.facts import APPLIED
from strixfleet.managed.llama_cpp.build import BUILDS, CURRENT, current_build
from strixfleet.managed.llama_cpp.host_program import (
    HOST_PROGRAM,
    LIBRARY,
    OLD_MODULES,
    TIMER,
    UNIT_FILES,
    UNITS,
    host_program,
)
from strixfleet.managed.machine import Applied
from strixfleet.managed.things.file import File
from strixfleet.managed.things.thing import Check, Deed, Have, Thing, unread
from strixfleet.managed.things.unit import foreign_files
from strixfleet.on_host.json_text import parsed_map
from strixfleet.on_host.questions import Answers, Ask, Json, Question
from strixfleet.on_host.switch.records import seal_of


OURS = "/opt/strixfleet"
STATE = "/var/lib/strixfleet"
ETC = "/etc/strixfleet"
BESIDE = Question(Ask.TREE, LIBRARY)
WAYS = tuple(Question(Ask.WRITABLE, path) for path in (f"{OURS}/", UNITS, STATE, ETC))
OWN_UNITS = tuple(Question(Ask.UNIT, path.rpartition("/")[2]) for path in UNIT_FILES)
RECORDS = Question(Ask.GLOB, f"{STATE}/*.json")
RECORDED = Question(Ask.READ, APPLIED)


def tampering() -> Iterator[Thing]:
    """Return nothing foreign beside the program, nothing that others may write, units and records as ours."""
    stated = frozenset(one.path for one in host_program() if isinstance(one, File))
    yield _beside(stated)
    yield _ways(stated)
    yield _units()
    yield _records()


def _beside(stated: frozenset[str]) -> Check:
    """Find what Python would import in place of ours, or of its own library."""

    def foreign(answers: Answers) -> list[str]:
        tree = answers[BESIDE].value
        paths = (f"{LIBRARY}/{name}" for name in tree) if isinstance(tree, dict) else ()
        return sorted(path for path in paths if path not in stated and not path.startswith(f"{OLD_MODULES}/"))

    def remove(answers: Answers) -> Iterator[Deed]:
        for path in foreign(answers):
            yield Deed("absent", {"path": path})

    return Check(
        id="llama_cpp:foreign_modules",
        wanted=[],
        reader=lambda answers: Have([*foreign(answers)], answers[BESIDE].error),
        questions=(BESIDE,),
        message=f"{HOST_PROGRAM} would load these",
        steps=remove,
    )


def _ways(stated: frozenset[str]) -> Check:
    """Find what others than root may write; what has a row of its own for its mode is left to that."""
    folders = {str(parent) for path in stated for parent in PurePath(path).parents}
    ours = {folder for folder in folders if folder.startswith(f"{OURS}/")} | {OURS}

    def found(answers: Answers) -> dict[str, Json]:
        rows: dict[str, Json] = {}
        for question in WAYS:
            value = answers[question].value
            rows |= value if isinstance(value, dict) else {}
        server = f"{BUILDS}/{current_build(answers)}/bin/llama-server"
        judged = {*stated, BUILDS, STATE, ETC, server}
        return {path: row for path, row in rows.items() if path not in judged}

    def read(answers: Answers) -> Have:
        rows = found(answers)
        cure = Cure.PROVISION if rows.keys() <= ours else Cure.MANUAL
        return Have(
            [f"{path} {row}" for path, row in sorted(rows.items())],
            unread(answers, (*WAYS, CURRENT)),
            cure=cure,
        )

    def mend(answers: Answers) -> Iterator[Deed]:
        for path in sorted(found(answers).keys() & ours):
            yield Deed("folder", {"path": path, "mode": "0755", "owner": "root", "group": "root"})

    return Check(
        id="llama_cpp:writable",
        wanted=[],
        reader=read,
        questions=(*WAYS, CURRENT),
        message="others than root may change what root runs: `chown root:root` and `chmod go-w,ug-s` these",
        steps=mend,
    )


def _units() -> Check:
    def read(answers: Answers) -> Have:
        found: list[Json] = []
        for question in OWN_UNITS:
            row = answers[question].value
            found += foreign_files(row, UNIT_FILES) if isinstance(row, dict) else []
        stale = _unread_units(answers)
        cure = Cure.MANUAL if found else Cure.PROVISION
        found += [f"{name} is not read by systemd yet" for name in stale]
        return Have(found, unread(answers, OWN_UNITS), cure=cure)

    def reload(answers: Answers) -> Iterator[Deed]:
        if _unread_units(answers):
            yield Deed("unit", {"name": TIMER, "reload": True})

    return Check(
        id="llama_cpp:overrides",
        wanted=[],
        reader=read,
        questions=OWN_UNITS,
        message="unit files that are not ours change what returns a bad build; remove them",
        steps=reload,
    )


def _unread_units(answers: Answers) -> list[str]:
    rows = ((one.subject, answers[one].value) for one in OWN_UNITS)
    return [name for name, row in rows if isinstance(row, dict) and row.get("NeedDaemonReload") == "yes"]


def _records() -> Check:
    def read(answers: Answers) -> Have:
        texts = answers.texts(RECORDS.subject)
        found = sorted(path for path, text in texts.items() if not _is_whole(text))
        applied = answers.text(RECORDED.verb, RECORDED.subject)
        lost = [APPLIED] if applied is not None and Applied.read(applied) is None else []
        cure = Cure.MANUAL if found else Cure.PROVISION
        return Have([*found, *lost], unread(answers, (RECORDS, RECORDED)), cure=cure)

    return Check(
        id="llama_cpp:records",
        wanted=[],
        reader=read,
        questions=(RECORDS, RECORDED),
        message="damaged: remove these; measurements are made again, and `strixfleet unlock` frees a lock",
    )


def _is_whole(text: str) -> bool:
    """Tell whether a record is a map, and says what its seal says where it has one."""
    try:
        row = parsed_map(text)
    except ValueError:
        return False
    return row.pop("seal", None) in {None, seal_of(row)}
