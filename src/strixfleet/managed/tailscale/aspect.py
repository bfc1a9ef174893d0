"""Tailscale: installed from a repository whose key is known, running, joined as the inventory says."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self
from urllib.parse import urlsplit

from strixfleet import assets
from strixfleet.findings.items import Cure, Item, Observed, Rule
from strixfleet.inventory.schema.fleet_model import Host
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.aspect import Situation
from strixfleet.managed.platforms.apt_sources import (
    OUR_TAILSCALE,
    QUESTIONS,
    contradicting,
    offers,
    sources_of,
)
from strixfleet.managed.things.file import ManagedFile
from strixfleet.managed.things.package import PackageWish
from strixfleet.on_host.questions import Answers, Ask, Json, Question


PACKAGE = PackageWish("tailscale")
UNIT = "tailscaled.service"
KEY = "/etc/apt/keyrings/strixfleet-tailscale.asc"
PIN = "/etc/apt/preferences.d/strixfleet-tailscale"
VENDOR = "https://pkgs.tailscale.com/stable"
CONTROL = "https://controlplane.tailscale.com"
CONTROL_NAMES = {CONTROL, "https://login.tailscale.com", ""}
EXPIRY_DAYS = 14
DAY_S = 86_400
VARIABLES = (
    "tailscale_problems",
    "tailscale_files",
    "tailscale_packages",
    "tailscale_units",
    "tailscale_joins",
)


@dataclass(frozen=True, slots=True)
class Tailscale:
    """
    The tailnet membership of one host: `state` as its daemon said, `bare` where it has not joined yet.

    No `files` where a source of the host's own has the repository already: apt refuses all its sources when
    two of one repository name different keys.
    """

    settings: HostSettings
    files: tuple[ManagedFile, ...]
    state: str | None
    bare: bool
    expires: bool

    name: ClassVar[str] = "tailscale"

    @classmethod
    def questions(cls, host: Host) -> Iterator[Question]:
        """Ask for package, repository, daemon and membership."""
        if not host.settings.tailscale_enabled:
            return
        yield PACKAGE.question()
        yield Question(Ask.UNIT, UNIT)
        for name in ("tailscale", "tailscale_prefs", "clock"):
            yield Question(Ask.RUN, name)
        yield from QUESTIONS
        for path in (KEY, OUR_TAILSCALE, PIN):
            yield Question(Ask.DIGEST, path)

    @classmethod
    def compile(cls, situation: Situation) -> Self:
        """Settle the repository by the distribution, and read whether the host has joined."""
        settings, facts = situation.host.settings, situation.facts
        files: tuple[ManagedFile, ...] = ()
        uri = settings.tailscale_repository or f"{VENDOR}/{facts.os_id}"
        answers = situation.answers
        offered = offers(sources_of(answers), uri, facts.os_codename) or OUR_TAILSCALE in contradicting(
            answers
        )
        if settings.tailscale_enabled and situation.controller.tailscale_key and not offered:
            key = ManagedFile(KEY, situation.controller.tailscale_key)
            origin = urlsplit(uri).hostname or ""
            source = assets.render(f"host{OUR_TAILSCALE}.j2", uri=uri, suite=facts.os_codename, key=KEY)
            pin = assets.render(f"host{PIN}.j2", origin=origin)
            files = (key, ManagedFile(OUR_TAILSCALE, source), ManagedFile(PIN, pin))
        status = _document(situation.answers, "tailscale")
        state = str(status.get("BackendState") or "") or None
        installed = situation.answers[PACKAGE.question()]
        bare = state == "NeedsLogin" or (installed.value is None and installed.error is None)
        return cls(settings, files, state, bare, bool(_self(status).get("KeyExpiry")))

    def items(self) -> Iterator[Item]:
        """Installed, running, joined, under the right name and at the right server."""
        settings = self.settings
        if not settings.tailscale_enabled:
            return
        yield from PACKAGE.items(self.name)
        for file in self.files:
            yield file.item(self.name)
        yield Item(f"tailscale:{UNIT}", {"active": "active", "enabled": "enabled"})
        waits = self.state == "NeedsMachineAuth"
        approve = "approve the host in the tailnet's admin console" if waits else ""
        yield Item("tailscale:state", "Running", Cure.MANUAL if waits else Cure.PROVISION, message=approve)
        yield from self._membership()

    def _membership(self) -> Iterator[Item]:
        settings = self.settings
        cure = Cure.MANUAL if self.state == "Running" else Cure.PROVISION
        again = (
            "set when a host joins: `tailscale logout` on it, then provision" if cure is Cure.MANUAL else ""
        )
        if settings.tailscale_hostname:
            yield Item("tailscale:hostname", settings.tailscale_hostname)
        if settings.tailscale_tags:
            yield Item("tailscale:tags", [*sorted(settings.tailscale_tags)], cure, message=again)
        yield Item("tailscale:login_server", _server(settings.tailscale_login_server), cure, message=again)
        if self.expires:
            message = "days until the node key expires: disable its expiry, or join with a tagged key"
            yield Item("tailscale:key_expiry", EXPIRY_DAYS, Cure.MANUAL, rule=Rule.AT_LEAST, message=message)

    def observe(self, answers: Answers) -> Iterator[Observed]:
        """Read package, repository, daemon and membership."""
        yield from PACKAGE.observe(self.name, answers)
        for file in self.files:
            yield file.observe(self.name, answers)
        unit = answers[Question(Ask.UNIT, UNIT)]
        value = unit.value if isinstance(unit.value, dict) and unit.value.get("LoadState") == "loaded" else {}
        have = {"active": value.get("ActiveState"), "enabled": value.get("UnitFileState")} if value else None
        yield Observed(f"tailscale:{UNIT}", have, unit.error)
        down = None if value.get("ActiveState") == "active" else "not running"
        yield from _observe_status(answers, down)
        yield _observe_server(answers, down, self.state)

    def role_vars(self) -> dict[str, Json]:
        """Return the role the repository and how to join; the key only where it is needed."""
        settings, joined = self.settings, self.state in {"Running", "Stopped"}
        if not settings.tailscale_enabled:
            return {key: [] for key in VARIABLES}
        key = settings.tailscale_auth_key
        problem = "this host has not joined a tailnet; hint: give tailscale_auth_key (from vault)"
        return {
            "tailscale_problems": [problem] if key is None and self.bare else [],
            "tailscale_files": [file.role_var() for file in self.files],
            "tailscale_packages": [PACKAGE.role_var()],
            "tailscale_units": [UNIT],
            "tailscale_joins": [
                {
                    "auth_key": key.get_secret_value() if key and not joined else None,
                    "login_server": settings.tailscale_login_server,
                    "hostname": settings.tailscale_hostname,
                    "tags": list(settings.tailscale_tags),
                }
            ],
        }


def _server(url: str | None) -> str:
    """Return a control server's address in one spelling."""
    plain = (url or "").rstrip("/")
    return CONTROL if plain in CONTROL_NAMES else plain


def _document(answers: Answers, name: str) -> dict[str, Json]:
    try:
        found = json.loads(answers.text(Ask.RUN, name) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _self(status: dict[str, Json]) -> dict[str, Json]:
    found = status.get("Self")
    return found if isinstance(found, dict) else {}


def _observe_status(answers: Answers, down: str | None) -> Iterator[Observed]:
    answer = answers[Question(Ask.RUN, "tailscale")]
    status = _document(answers, "tailscale")
    error = None if down else answer.error
    if not down and not error and not status:
        error = "tailscale status said nothing that can be read"
    own = _self(status)
    yield Observed("tailscale:state", down or status.get("BackendState"), error)
    yield Observed("tailscale:hostname", str(own.get("HostName") or "").lower() or None, error)
    tags = own.get("Tags")
    have: list[Json] = []
    have += sorted(str(tag) for tag in tags) if isinstance(tags, list) else []
    yield Observed("tailscale:tags", have, error)
    yield _observe_expiry(answers, str(own.get("KeyExpiry") or ""))


def _observe_server(answers: Answers, down: str | None, state: str | None) -> Observed:
    """Read the control server from the daemon's preferences; one that never joined has none that counts."""
    silent = answers[Question(Ask.RUN, "tailscale")].error
    if down or (state in {None, "NeedsLogin", "NoState"} and not silent):
        return Observed("tailscale:login_server", down)
    url = _document(answers, "tailscale_prefs").get("ControlURL")
    error = answers[Question(Ask.RUN, "tailscale_prefs")].error
    if not isinstance(url, str):
        return Observed("tailscale:login_server", error=error or "tailscale debug prefs named no server")
    return Observed("tailscale:login_server", _server(url), error or silent)


def _observe_expiry(answers: Answers, expiry: str) -> Observed:
    clock = answers.text(Ask.RUN, "clock") or ""
    try:
        left_s = datetime.fromisoformat(expiry).timestamp() - int(clock)
    except ValueError:
        return Observed(
            "tailscale:key_expiry", error="the key's expiry or the host's clock could not be read"
        )
    return Observed("tailscale:key_expiry", int(left_s // DAY_S))
