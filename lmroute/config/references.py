"""What a schema cannot see: names that must resolve, and statements that contradict each other."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lmroute.config.complaints import did_you_mean, selection
from lmroute.config.localities import contradiction
from lmroute.config.paths import options
from lmroute.config.provenance import dotted
from lmroute.diagnostics import Diagnostic
from lmroute.model import AUTO, Named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.marks import KeyPath
    from lmroute.config.provenance import Locate
    from lmroute.model import Profile, Stack, Use

_RULES = ("routing", "rules")


def check(stack: Stack, locate: Locate) -> list[Diagnostic]:
    """What does not fit together in a decoded stack.

    LMR301 to LMR308, and LMR101 and LMR103 for values that only the rest of the document shows to be missing
    or wrong. The codes are explained in ``lmroute.config``.
    """
    if not stack.providers:
        advice = f"choose from {', '.join(options('provider'))}, e.g. {selection(['embedded'])}"
        return [Diagnostic("LMR305", "no provider is selected", locate(("providers",)), "providers", advice)]
    checks = (_identities, _endpoints, _localities, _names, _choice, _duplicates, _ranges, _task)
    found = chain.from_iterable(check(stack, locate) for check in checks)
    return sorted(found, key=lambda finding: (finding.location, finding.key, finding.code))


def _identities(stack: Stack, locate: Locate) -> Iterator[Diagnostic]:
    for name, profile in stack.providers.items():
        path = ("providers", name, "id")
        if profile.id != name:
            message = f"the id '{profile.id}' stands under '{name}'"
            advice = f"policies know it as '{name}': {dotted(path)}={name}"
            yield Diagnostic("LMR307", message, locate(path), dotted(path), advice)


def _endpoints(stack: Stack, locate: Locate) -> Iterator[Diagnostic]:
    for name, profile in stack.providers.items():
        path = ("providers", name, "endpoint")
        if not _is_address(profile.endpoint):
            message, advice = f'"{profile.endpoint}" is no address', "write http(s)://host:port, port 1 to 65535"
            yield Diagnostic("LMR103", message, locate(path), dotted(path), advice)


def _is_address(endpoint: str | None) -> bool:
    """What a pattern cannot tell: whether brackets hold an IPv6 address, and the port is one."""
    try:
        parts = urlsplit(endpoint or "http://fixed")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _localities(stack: Stack, locate: Locate) -> Iterator[Diagnostic]:
    for name, profile in stack.providers.items():
        path = ("providers", name, "locality")
        if _is_address(profile.endpoint) and (found := contradiction(profile)):
            message, nearest = found
            advice = f"policies keep private work here by this word: {dotted(path)}={nearest}"
            yield Diagnostic("LMR308", f"cannot be {profile.locality}: {message}", locate(path), dotted(path), advice)


def _names(stack: Stack, locate: Locate) -> Iterator[Diagnostic]:
    for i, rule in enumerate(stack.policy.rules):
        for j, use in enumerate(rule.use):
            if isinstance(use, Named):
                path = (*_RULES, str(i), "use", str(j))
                message, advice = _unresolved(use, stack.providers)
                if message:
                    yield Diagnostic("LMR301", f"rule '{rule.name}': {message}", locate(path), dotted(path), advice)


def _unresolved(use: Named, providers: dict[str, Profile]) -> tuple[str, str]:
    profile = providers.get(use.provider)
    if profile is None:
        known = options("provider")
        if use.provider in known:
            return (
                f"provider '{use.provider}' is not selected",
                f"add it: {selection([*providers, use.provider])}",
            )
        hint = did_you_mean(use.provider, {*providers, *known})
        return f"there is no provider '{use.provider}'", hint or f"selected: {', '.join(providers)}"
    if use.model in (None, *profile.models) or AUTO in profile.models:
        return "", ""
    listed = ", ".join(profile.models)
    return f"provider '{use.provider}' lists no model '{use.model}'", f"it lists {listed}"


def _choice(stack: Stack, locate: Locate) -> Iterator[Diagnostic]:
    uses = [use for rule in stack.policy.rules for use in rule.use]
    if not any(_reaches(use, profile) for use in uses for profile in stack.providers.values()):
        message = f"policy '{stack.policy.name}' can never choose a provider"
        advice = f"no rule has a candidate among the enabled ones of {', '.join(stack.providers)}"
        yield Diagnostic("LMR302", message, locate(_RULES), dotted(_RULES), advice)


def _reaches(use: Use, profile: Profile) -> bool:
    meant = profile.id == use.provider if isinstance(use, Named) else use.matches(profile)
    return profile.enabled and meant


def _duplicates(stack: Stack, locate: Locate) -> Iterator[Diagnostic]:
    seen: dict[str, int] = {}
    for i, rule in enumerate(stack.policy.rules):
        path = (*_RULES, str(i), "name")
        first = seen.setdefault(rule.name, i)
        if first != i:
            message = f"rule {first} is called '{rule.name}' too"
            yield Diagnostic("LMR306", message, locate(path), dotted(path), "give each rule a name of its own")


def _ranges(stack: Stack, locate: Locate) -> Iterator[Diagnostic]:
    """``between`` with its ends the wrong way round, which no number can satisfy."""
    for path, value in _mappings(stack.document["routing"]["rules"], _RULES):
        if "between" in value and value["between"][0] > value["between"][1]:
            low, high = value["between"]
            place = (*path, "between")
            yield Diagnostic("LMR103", f"nothing lies between {low} and {high}", locate(place), dotted(place),
                             f"write [{high}, {low}]")  # fmt: skip


def _mappings(node: object, path: KeyPath) -> Iterator[tuple[KeyPath, dict[str, list[int]]]]:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from _mappings(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _mappings(value, (*path, str(index)))


def _task(stack: Stack, locate: Locate) -> Iterator[Diagnostic]:
    """Each task needs its input, ``ask`` a question and the others data; a question that nobody asks is a mistake."""
    task, question = stack.task, ("question",)
    if task.name == "ask":
        if not (task.question or "").strip():
            advice = "set it: question='\"Why is the sky blue?\"'"
            yield Diagnostic("LMR101", "task 'ask' needs a question", locate(question), "question", advice)
        return
    if not (task.data or "").strip():
        path = ("task", "data")
        message = f"task '{task.name}' needs data"
        yield Diagnostic("LMR101", message, locate(path), dotted(path), f"set it: {dotted(path)}=FILE.csv")
    if stack.document.get("question") is not None:
        message = f"task '{task.name}' asks no question of yours"
        yield Diagnostic("LMR103", message, locate(question), "question", "add task=ask")
