"""Rules about the selected profiles: that there are any, and that what each says of itself can be true."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lmroute.config import packages
from lmroute.config.complaints import selection
from lmroute.config.keypaths import dotted
from lmroute.config.paths import options
from lmroute.config.provenance import COMMAND_LINE
from lmroute.config.secrecy import masked
from lmroute.diagnostics import Diagnostic, Location, Related
from lmroute.validate.localities import contradiction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.config.provenance import Source
    from lmroute.validate.context import Context

_ONE_FILE = frozenset({"provider", "routing", "task", "adapter", "telemetry", "health"})
"""The groups in which a key is the business of one file."""


def some_provider(context: Context) -> Iterator[Diagnostic]:
    """LMR305: no profile is selected, so nobody can answer."""
    if not context.selected and context.all_providers:
        advice = f"choose from {', '.join(options('provider'))}, e.g. {selection(['embedded'])}"
        yield Diagnostic("LMR305", "no provider is selected", context.locate(("providers",)), "providers", advice)


def one_file_a_profile(context: Context) -> Iterator[Diagnostic]:
    """LMR202: two chosen files write one profile, policy or task, the second over the first, secrets and all."""
    for first, second in _clashes(context):
        message, advice = _mixed(first, second)
        place = _where_chosen(second) if first.file == second.file else second.place
        related = (Related("also written by", first.place),) if first.file != second.file else ()
        yield Diagnostic("LMR202", message, place, dotted(second.package), advice, related=related)


def _clashes(context: Context) -> Iterator[tuple[Source, Source]]:
    """Files of one group at one key. One that brings the other by its own defaults list builds on it."""
    writers: dict[tuple[str, KeyPath], Source] = {}
    for source in context.composition.trace.sources:
        if source.group in _ONE_FILE:
            first = writers.setdefault((source.group, source.package), source)
            if first is not source and not _builds_on(first, source):
                yield first, source


def _builds_on(one: Source, other: Source) -> bool:
    return any(b.chosen_by == f"{a.group}/{a.file.name}" for a, b in ((one, other), (other, one)))


def _mixed(first: Source, second: Source) -> tuple[str, str]:
    """What two files at one key mean, and how each gets its own."""
    if first.file == second.file:
        return f"{second.file.stem} is chosen twice", "name it once"
    if second.group != "provider":
        both = f"{first.file.name} and {second.file.name}"
        return f"{both} are both chosen, and their keys are mixed", f"choose one: {second.group}={first.file.stem}"
    mixed = f"{first.file.name} and {second.file.name} both write this profile; their keys are mixed"
    return mixed, _apart(first if first.file.stem != second.package[-1] else second)


def _where_chosen(source: Source) -> Location:
    """The override that chose a file; else the file itself."""
    typed = "=" in source.chosen_by
    return Location(COMMAND_LINE, override=masked(source.chosen_by)) if typed else source.place


def _apart(source: Source) -> str:
    """How a file that stands at another profile's key gets a key of its own."""
    name = source.file.stem
    if "@" in source.chosen_by:  # an alias: the command line or a defaults list chose the key
        return f"give it a key of its own: +provider@providers.NAME={name}"
    return f"begin {source.file.name} with its own header: {packages.line(packages.belongs('provider', name))}"


def identities(context: Context) -> Iterator[Diagnostic]:
    """LMR307: a profile stands under another name than its id, and policies would look for it in vain."""
    mixed = {second.package for _, second in _clashes(context)}
    for name, profile in context.providers.items():
        path = ("providers", name, "id")
        if profile.id != name and path[:-1] not in mixed:
            message = f"the id '{profile.id}' stands under '{name}'"
            advice = f"policies know it as '{name}': {dotted(path)}={name}"
            yield Diagnostic("LMR307", message, context.locate(path), dotted(path), advice)


def endpoints(context: Context) -> Iterator[Diagnostic]:
    """LMR103: what the schema's pattern cannot tell of an endpoint."""
    for name, profile in context.providers.items():
        path = ("providers", name, "endpoint")
        if not _is_address(profile.endpoint):
            message, advice = f'"{profile.endpoint}" is no address', "write http(s)://host:port, port 1 to 65535"
            yield Diagnostic("LMR103", message, context.locate(path), dotted(path), advice)


def localities(context: Context) -> Iterator[Diagnostic]:
    """LMR308: a locality that cannot be true; policies keep private work local by that word."""
    for name, profile in context.providers.items():
        path = ("providers", name, "locality")
        if _is_address(profile.endpoint) and (found := contradiction(profile)):
            message, nearest = found
            advice = f"policies keep private work here by this word; if the endpoint is right, write {nearest}"
            place = context.locate(path)
            yield Diagnostic("LMR308", f"cannot be {profile.locality}: {message}", place, dotted(path), advice)


def _is_address(endpoint: str | None) -> bool:
    """Whether brackets hold an IPv6 address, four numbers are an address, and the port is one."""
    try:
        parts = urlsplit(endpoint or "http://fixed")
        host = parts.hostname or ""
        if re.fullmatch(r"[\d.]+", host):
            ipaddress.ip_address(host)
        return bool(host) and parts.port != 0
    except ValueError:
        return False
