"""Rules about what a policy can do: choose somebody, and give everybody who is selected a part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.config.complaints import selection
from lmroute.config.keypaths import dotted
from lmroute.diagnostics import Diagnostic, Related
from lmroute.model import Named
from lmroute.routing.policy import CALLER_CHOICE
from lmroute.validate.rules.references import names, tags
from lmroute.validate.written import RULES_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.model import Profile, Use
    from lmroute.validate.context import Context, Entry


def some_choice(context: Context) -> Iterator[Diagnostic]:
    """LMR302: the policy can never choose any of the selected providers."""
    if not (context.all_providers and context.all_entries and context.selected) or _loose(context):
        return
    if not _reached(context, (entry for entry in context.entries if entry.owner != CALLER_CHOICE)):
        message = f"policy '{context.document['routing'].get('name')}' can never choose a provider"
        advice = f"no rule has a candidate among the enabled ones of {', '.join(context.selected)}"
        yield Diagnostic("LMR302", message, context.locate(RULES_PATH), dotted(RULES_PATH), advice)


def reachable(context: Context) -> Iterator[Diagnostic]:
    """LMR304: a selected profile that no rule can ever choose."""
    in_use = reached(context)
    if not (in_use and context.all_entries) or _loose(context):  # LMR302 says it once for all of them
        return
    for name, profile in context.providers.items():
        if profile.enabled and name not in in_use:
            message = f"no rule of policy '{context.document['routing'].get('name')}' can ever choose this provider"
            others = [other for other in context.selected if other != name]
            advice = f"leave it out: {selection(others)}, or choose a policy that uses it: routing=NAME"
            yield Diagnostic("LMR304", message, context.locate(("providers", name)), f"providers.{name}", advice)


def _loose(context: Context) -> bool:
    """Whether a name or tag leads nowhere. Who is left without a request because of it needs no finding as well."""
    return any(names(context)) or any(tags(context))


def reached(context: Context) -> frozenset[str]:
    """The enabled providers that some rule can choose, the default, or a caller."""
    return _reached(context, context.entries)


def _reached(context: Context, entries: Iterable[Entry]) -> frozenset[str]:
    uses = [entry.use for entry in entries]
    providers = context.providers.items()
    return frozenset(name for name, profile in providers if any(_reaches(use, name, profile) for use in uses))


def _reaches(use: Use, name: str, profile: Profile) -> bool:
    meant = name == use.provider if isinstance(use, Named) else use.matches(profile)
    return profile.enabled and meant


def repeats(context: Context) -> Iterator[Diagnostic]:
    """LMR309: a candidate twice in one list; the second one is never tried."""
    seen: dict[tuple[KeyPath, Use], KeyPath] = {}
    for entry in context.entries:
        first = seen.setdefault((entry.among, entry.use), entry.path)
        if first != entry.path:
            related = (Related("the first one", context.locate(first)),)
            message = f"the same candidate stands earlier in this {'rule' if 'rules' in entry.among else 'list'}"
            advice = "leave it out: a candidate is tried once"
            place = context.locate(entry.path)
            yield Diagnostic("LMR309", message, place, dotted(entry.path), advice, related=related)
