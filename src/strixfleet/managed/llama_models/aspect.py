"""The model store: files under their final names are the ones that the inventory's digests name."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from strixfleet.findings.items import Cost, Item, Observed
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.managed.aspect import Situation
from strixfleet.managed.llama_models.model_store import STORE, UNVERIFIED, StoredFile, catalogue
from strixfleet.on_host.questions import Answers, Ask, Json, Question


OWNED = {"mode": "0644", "owner": "root", "group": "root"}
OWNED_FOLDER = {"mode": "0755", "owner": "root", "group": "root"}


@dataclass(frozen=True, slots=True)
class LlamaModels:
    """The model files of one host; only `secret` is not for every eye."""

    files: tuple[StoredFile, ...]
    http_allowed: bool
    secret: str

    name: ClassVar[str] = "llama_models"

    @classmethod
    def questions(cls, host: Host) -> Iterator[Question]:
        """Ask for identity and stamp of each file, and for the folders."""
        files = _files(host)
        for file in files:
            yield from file.questions()
        for folder in _folders(files):
            yield Question(Ask.STAT, folder)

    @classmethod
    def compile(cls, situation: Situation) -> Self:
        """Settle the files; nothing depends on the host."""
        settings = situation.host.settings
        token = settings.llama_models_token
        return cls(
            _files(situation.host),
            settings.llama_models_allow_http,
            token.get_secret_value() if token else "",
        )

    def items(self) -> Iterator[Item]:
        """Want each folder ours alone and each file verified."""
        for folder in _folders(self.files):
            yield Item(f"{self.name}:{folder}", dict(OWNED_FOLDER))
        for file in self.files:
            want: dict[str, Json] = {"sha256": file.sha256}
            if file.in_store:
                want |= OWNED
            cost = Cost.DOWNLOAD if file.in_store else Cost.NONE
            yield Item(file.item_id, want, cost=cost)

    def observe(self, answers: Answers) -> Iterator[Observed]:
        """Hold the stamps against the files."""
        for folder in _folders(self.files):
            answer = answers[Question(Ask.STAT, folder)]
            have = answer.value
            if isinstance(have, dict):
                have = {key: have.get(key) for key in OWNED_FOLDER}
            yield Observed(f"{self.name}:{folder}", have, answer.error)
        for file in self.files:
            yield _observe(file, answers)

    def role_vars(self) -> dict[str, Json]:
        """Return the role its files and how to fetch them."""
        return {
            "llama_models_files": [file.role_var() for file in self.files],
            "llama_models_http_allowed": self.http_allowed,
            "llama_models_secret": self.secret,
        }


def _files(host: Host) -> tuple[StoredFile, ...]:
    return tuple(file for files in catalogue(host.settings.llama_models).values() for file in files)


def _folders(files: tuple[StoredFile, ...]) -> tuple[str, ...]:
    """Return the folders that hold files of ours; none when nothing is stored."""
    own = dict.fromkeys(file.path.rpartition("/")[0] for file in files if file.in_store)
    return (STORE, *own) if own else ()


def _observe(file: StoredFile, answers: Answers) -> Observed:
    stat, stamp = (answers[question] for question in file.questions())
    if error := stat.error or stamp.error:
        return Observed(file.item_id, error=error)
    if not isinstance(stat.value, dict):
        return Observed(file.item_id, None, message="the file is not there")
    digest = file.verified_sha256(answers)
    have: dict[str, Json] = {"sha256": digest or UNVERIFIED}
    if file.in_store:
        have |= {key: stat.value.get(key) for key in OWNED}
    message = "" if digest else "the file is not the one whose digest was checked; provision checks it again"
    return Observed(file.item_id, have, message=message)
