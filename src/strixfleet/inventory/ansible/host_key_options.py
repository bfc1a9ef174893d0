"""How ssh checks host keys: what an inventory may not say about it, and what strixfleet says itself."""

import getopt
import re


LETTERS = "1246ab:c:e:fgi:kl:m:no:p:qstvxAB:CD:E:F:GI:J:KL:MNO:P:Q:R:S:TVw:W:XYy"  # of ssh(1)
OTHER_CONNECTION = frozenset({"-M", "-O", "-S"})  # a master that may have been opened without a check
_OPTION = re.compile(
    r"(stricthostkeychecking|userknownhostsfile|globalknownhostsfile|knownhostscommand|verifyhostkeydns"
    r"|nohostauthenticationforlocalhost)",
    re.IGNORECASE,
)


def checked_by(known_hosts: str) -> tuple[str, ...]:
    """
    Return ssh's arguments by which it accepts the keys of one file and no others.

    They have to stand before all others: ssh takes the first value of an option, and its configuration files
    come last. Without a control path no connection of somebody else is shared.
    """
    options = (
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={known_hosts}",
        "GlobalKnownHostsFile=/dev/null",
        "KnownHostsCommand=none",
        "VerifyHostKeyDNS=no",
        "NoHostAuthenticationForLocalhost=no",
    )
    return tuple(word for option in options for word in ("-o", option))


NO_SHARED_CONNECTION = ("-o", "ControlMaster=no", "-o", "ControlPath=none")


def mistake(words: tuple[str, ...]) -> tuple[str, str] | None:
    """Return what is wrong with further arguments of ssh, and the remedy; None where nothing is."""
    if any(_OPTION.search(word) for word in words):
        return "would change how host keys are checked", "drop it, and enrol the host with `strixfleet trust`"
    try:
        options, rest = getopt.getopt(list(words), LETTERS)
    except getopt.GetoptError as error:
        return f"is not what ssh takes: {error}", "write options of ssh(1)"
    if found := OTHER_CONNECTION.intersection(name for name, _ in options):
        return f"would share a connection by {min(found)}", "drop it: strixfleet shares its own connections"
    if rest:
        return "has a word that is not an option", "write the host as ansible_host"
    return None
