"""Tailscale: installed from a repository whose key is known, running, joined as the inventory says."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from strixfleet.findings.items import Cure, Rule
from strixfleet.inventory.schema.settings import HostSettings
from strixfleet.managed.host_documents import json_map
from strixfleet.managed.machine import Machine
from strixfleet.managed.platforms.apt_sources import (
    OUR_TAILSCALE,
    SOURCES,
    contradicting,
    offers,
    sources_of,
)
from strixfleet.managed.things.file import File, Template
from strixfleet.managed.things.package import Package
from strixfleet.managed.things.thing import Check, Deed, Have, Reader, Settled, Thing, unread
from strixfleet.managed.things.unit import Unit
from strixfleet.on_host.questions import Answers, Ask, Json, Question


UNIT = Unit(id="tailscale:tailscaled.service", name="tailscaled.service")
KEY = "/etc/apt/keyrings/strixfleet-tailscale.asc"
PIN = "/etc/apt/preferences.d/strixfleet-tailscale"
VENDOR = "https://pkgs.tailscale.com/stable"
CONTROL = "https://controlplane.tailscale.com"
CONTROL_NAMES = {CONTROL, "https://login.tailscale.com", ""}
STATUS = Question(Ask.RUN, "tailscale")
PREFERENCES = Question(Ask.RUN, "tailscale_prefs")
CLOCK = Question(Ask.RUN, "clock")
INSTALLED = Question(Ask.PACKAGE, "tailscale")
FORCED = "`tailscale up --force-reauth --auth-key=file:KEY"
CUTS = "that cuts connections over the tailnet, so reach the host by another way first"
EXPIRY_DAYS = 14
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Membership:
    """What the daemon says; `down` where it does not run, `error` why it could not be asked."""

    state: str | None
    node: dict[str, Json]
    down: bool
    error: str | None

    @classmethod
    def read(cls, answers: Answers) -> "Membership":
        """Read systemd's word and the daemon's."""
        unit = UNIT.read(answers)
        running = isinstance(unit.value, dict) and unit.value.get("active") == "active"
        down = unit.error is None and not running
        status = json_map(answers[STATUS].value)
        error = unit.error or (None if down else answers[STATUS].error)
        if not down and not error and not status:
            error = "tailscale status printed nothing that can be read"
        own = status.get("Self")
        state = status.get("BackendState")
        found = str(state) if isinstance(state, str) and state else None
        return cls(found, own if isinstance(own, dict) else {}, down, error)

    @property
    def joined(self) -> bool:
        """Tell whether the host is a member of a tailnet."""
        return self.state in {"Running", "Stopped"}


def server_address(url: str | None) -> str:
    """Return a control server's address in one spelling."""
    plain = (url or "").rstrip("/")
    return CONTROL if plain in CONTROL_NAMES else plain


def tailnet_address(answers: Answers) -> str | None:
    """Return the host's own IPv4 address in its tailnet."""
    own = json_map(answers[STATUS].value).get("Self")
    found = own.get("TailscaleIPs") if isinstance(own, dict) else None
    addresses = found if isinstance(found, list) else []
    return next((one for one in addresses if isinstance(one, str) and _is_ipv4(one)), None)


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _repository(settings: HostSettings, machine: Machine) -> Iterator[Thing]:
    """Add the repository, where no source of the host's own has it: apt refuses two that name other keys."""
    if not settings.tailscale_repository_key:
        return
    uri = settings.tailscale_repository or f"{VENDOR}/{machine.os_id}"
    origin = urlsplit(uri).hostname or ""
    rows = {"uri": uri, "suite": machine.os_codename, "key": KEY}
    source = Template(f"host{OUR_TAILSCALE}.j2", rows)
    pin = Template(f"host{PIN}.j2", {"origin": origin})
    key = File(id=f"tailscale:{KEY}", path=KEY, source=machine.tailscale_key)
    others = (
        File(id=f"tailscale:{OUR_TAILSCALE}", path=OUR_TAILSCALE, source=source),
        File(id=f"tailscale:{PIN}", path=PIN, source=pin),
    )
    yield _unless_offered(key, uri, machine.os_codename, settings.tailscale_repository_fingerprint)
    for file in others:
        yield _unless_offered(file, uri, machine.os_codename, file.want)


def _unless_offered(file: File, uri: str, suite: str, statement: Json) -> Settled:
    own = "the host's own source"
    nothing = Check(id=file.id, wanted=own, reader=lambda _answers: Have(own))

    def choose(answers: Answers) -> Thing:
        if not contradicting(answers) and (error := unread(answers, SOURCES)):
            return Check(id=file.id, wanted=own, reader=lambda _answers: Have(error=error))
        offered = offers(sources_of(answers), uri, suite) or OUR_TAILSCALE in contradicting(answers)
        return nothing if offered else file

    return Settled(id=file.id, statement=statement, choose=choose, questions=(*SOURCES, *file.asks()))


@dataclass(frozen=True, kw_only=True)
class Joined(Thing):
    """The host is a member of the tailnet."""

    settings: HostSettings

    @property
    def want(self) -> Json:
        return "Running"

    def asks(self) -> Iterator[Question]:
        yield from (STATUS, INSTALLED, *UNIT.asks())

    def read(self, answers: Answers) -> Have:
        found = Membership.read(answers)
        if found.state == "NeedsMachineAuth":
            message = "approve the host in the tailnet's admin console"
            return Have(found.state, found.error, message, Cure.MANUAL)
        return Have("not running" if found.down else found.state, found.error)

    def deeds(self, answers: Answers) -> Iterator[Deed]:
        """Join; the key is handed on only where it is needed."""
        found, settings = Membership.read(answers), self.settings
        key, installed = settings.tailscale_auth_key, answers[INSTALLED]
        bare = found.state == "NeedsLogin" or (installed.value is None and installed.error is None)
        if key is None and bare:
            text = "this host has not joined a tailnet; hint: give tailscale_auth_key (from vault)"
            yield Deed("problem", {"text": text})
        yield Deed(
            "tailnet",
            {
                "auth_key": key.get_secret_value() if key and not found.joined else None,
                "login_server": settings.tailscale_login_server,
                "hostname": settings.tailscale_hostname,
                "tags": [*settings.tailscale_tags],
            },
        )


def _set_at_join(key: str, wanted: Json, reader: Reader, cure: str) -> Check:
    """Return what a member changes only by authenticating again; a logout would lose it and the way to it."""

    def read(answers: Answers) -> Have:
        have = reader(answers)
        if Membership.read(answers).state != "Running":
            return have
        return Have(have.value, have.error, f"set when a host joins: {cure}; {CUTS}", Cure.MANUAL)

    questions = (STATUS, PREFERENCES, *UNIT.asks())
    return Check(id=f"tailscale:{key}", wanted=wanted, reader=read, questions=questions)


def _tags(answers: Answers) -> Have:
    found = Membership.read(answers)
    tags = found.node.get("Tags")
    names = sorted(str(tag) for tag in tags) if isinstance(tags, list) else []
    return Have([*names], found.error)


def _host_name(answers: Answers) -> Have:
    found = Membership.read(answers)
    return Have(str(found.node.get("HostName") or "").lower() or None, found.error)


def _login_server(answers: Answers) -> Have:
    """Read the control server from the daemon's preferences; before the first join none of them counts."""
    found = Membership.read(answers)
    if found.down:
        return Have("not running")
    if found.state in {None, "NeedsLogin", "NoState"} or found.error:
        return Have(error=found.error)
    url = json_map(answers[PREFERENCES].value).get("ControlURL")
    if not isinstance(url, str):
        return Have(error=answers[PREFERENCES].error or "tailscale debug prefs named no server")
    return Have(server_address(url))


def _expiry(answers: Answers) -> Have:
    """Return the days until the node key expires; none where it does not."""
    found = Membership.read(answers)
    expiry = str(found.node.get("KeyExpiry") or "")
    if found.error or not expiry:
        return Have(error=found.error)
    clock = answers.text(CLOCK.verb, CLOCK.subject) or ""
    try:
        left_s = datetime.fromisoformat(expiry).timestamp() - int(clock)
    except (ValueError, OverflowError):
        return Have(error="the key's expiry or the host's clock could not be read")
    return Have(int(left_s // DAY_S))


def tailscale(settings: HostSettings, machine: Machine) -> Iterator[Thing]:
    """Return Tailscale installed, running, joined, under the right name and at the right server."""
    if not settings.tailscale_enabled:
        return
    yield from _repository(settings, machine)
    yield Package(id="tailscale:tailscale", name="tailscale")
    yield UNIT
    yield Joined(id="tailscale:state", settings=settings)
    if settings.tailscale_hostname:
        yield Check(
            id="tailscale:hostname",
            wanted=settings.tailscale_hostname,
            reader=_host_name,
            questions=(STATUS, *UNIT.asks()),
        )
    if settings.tailscale_tags:
        tags = sorted(settings.tailscale_tags)
        again = f"{FORCED} --advertise-tags={','.join(tags)}` on it"
        cure = f"change the tags at the control server (`headscale nodes tag`), or run {again}"
        yield _set_at_join("tags", [*tags], _tags, cure)
    server = server_address(settings.tailscale_login_server)
    again = f"run {FORCED} --login-server={server}` on it with a key of that server"
    yield _set_at_join("login_server", server, _login_server, again)
    yield Check(
        id="tailscale:key_expiry",
        wanted=EXPIRY_DAYS,
        reader=_expiry,
        questions=(STATUS, CLOCK),
        rule=Rule.AT_LEAST_IF_ANY,
        cure=Cure.MANUAL,
        message="days until the node key expires: disable its expiry, or join with a tagged key",
    )
