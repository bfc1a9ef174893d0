"""The model store: files under their final names are the ones that the inventory's digests name."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from strixfleet.findings.items import Cost
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.llama_models.model_store import STORE, UNVERIFIED, StoredFile, catalogue
from strixfleet.managed.machine import Machine
from strixfleet.managed.things.file import Folder
from strixfleet.managed.things.package import Package
from strixfleet.managed.things.thing import Deed, Have, Thing
from strixfleet.on_host.questions import Answers, Json, Question


OWNED: dict[str, Json] = {"mode": "0644", "owner": "root", "group": "root"}


@dataclass(frozen=True, kw_only=True)
class ModelOnHost(Thing):
    """One file of a model; a file in its own place (`host_path`) is only used, its owner is not ours."""

    file: StoredFile
    http_allowed: bool
    token: str

    @property
    def want(self) -> Json:
        return {"sha256": self.file.sha256, **(OWNED if self.file.in_store else {})}

    def asks(self) -> Iterable[Question]:
        return self.file.questions()

    def read(self, answers: Answers) -> Have:
        stat, stamp = (answers[question] for question in self.file.questions())
        if error := stat.error or stamp.error:
            return Have(error=error)
        if not isinstance(stat.value, dict):
            return Have(None, message="the file is not there")
        digest = self.file.verified_sha256(answers)
        message = "" if digest else "the file changed since its digest was checked; provision checks it again"
        have: dict[str, Json] = {"sha256": digest or UNVERIFIED, "size_bytes": stat.value.get("size_bytes")}
        if self.file.in_store:
            have |= {key: stat.value.get(key) for key in OWNED}
        return Have(have, message=message)

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        arguments = self.file.role_var() | {"http_allowed": self.http_allowed, "token": self.token}
        yield Deed("model", arguments)


def llama_models(settings: HostSettings, machine: Machine) -> Iterator[Thing]:
    """Return each folder, ours alone, and each file, verified."""
    files = [file for group in catalogue(settings.llama_models).values() for file in group]
    own = dict.fromkeys(file.path.rpartition("/")[0] for file in files if file.in_store)
    for folder in (STORE, *own) if own else ():
        yield Folder(id=f"llama_models:{folder}", path=folder)
    if any(file.origin == "url" for file in files):
        yield Package(id="llama_models:curl", name="curl")
        yield Package(id="llama_models:ca-certificates", name="ca-certificates")
    token = settings.llama_models_token
    for file in files:
        yield ModelOnHost(
            id=file.item_id,
            file=file,
            cost=Cost.DOWNLOAD if file.in_store else Cost.NONE,
            http_allowed=settings.llama_models_allow_http,
            token=token.get_secret_value() if token else "",
        )
