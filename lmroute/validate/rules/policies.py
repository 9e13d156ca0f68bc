"""Rules about the policy: that its names resolve, and that it can do what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.config.complaints import did_you_mean, selection
from lmroute.config.keypaths import dotted
from lmroute.config.paths import files, options
from lmroute.config.text.yaml11 import read
from lmroute.diagnostics import Diagnostic, Related
from lmroute.model import AUTO, Named, Selector
from lmroute.validate.context import RULES_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.model import Profile, Rule, Use
    from lmroute.validate.context import Context


def names(context: Context) -> Iterator[Diagnostic]:
    """LMR301: a rule names a provider that is not selected, or a model that its provider does not list."""
    for path, rule, use in _uses(context):
        if isinstance(use, Named) and (found := _unresolved(use, context)):
            message, advice = f"rule '{rule.name}': {found[0]}", found[1]
            yield Diagnostic("LMR301", message, context.locate(path), dotted(path), advice)


def _unresolved(use: Named, context: Context) -> tuple[str, str] | None:
    if use.provider not in context.selected:
        return _not_selected(use.provider, context.selected)
    profile = context.providers.get(use.provider)
    if profile is None or use.model in (None, *profile.models) or AUTO in profile.models:
        return None
    listed = ", ".join(profile.models)
    hint = did_you_mean(use.model or "", profile.models)
    return f"provider '{use.provider}' lists no model '{use.model}'", hint or f"it lists {listed}"


def _not_selected(provider: str, selected: tuple[str, ...]) -> tuple[str, str]:
    known = options("provider")
    if provider in known:
        return f"provider '{provider}' is not selected", f"add it: {selection([*selected, provider])}"
    hint = did_you_mean(provider, {*selected, *known})
    return f"there is no provider '{provider}'", hint or f"selected: {', '.join(selected)}"


def some_choice(context: Context) -> Iterator[Diagnostic]:
    """LMR302: the policy can never choose any of the selected providers."""
    if not (context.all_providers and context.all_rules and context.selected) or _loose(context):
        return
    if not reached(context):
        message = f"policy '{context.document['routing'].get('name')}' can never choose a provider"
        advice = f"no rule has a candidate among the enabled ones of {', '.join(context.selected)}"
        yield Diagnostic("LMR302", message, context.locate(RULES_PATH), dotted(RULES_PATH), advice)


def tags(context: Context) -> Iterator[Diagnostic]:
    """LMR303: a selector asks for a tag that no profile carries, chosen or not: it is misspelt, and selects nothing."""
    wanted = [(path, use) for path, _, use in _uses(context) if isinstance(use, Selector) and use.tags]
    if not wanted or not context.all_providers:
        return
    known = _tags_one_can_choose() | {tag for profile in context.providers.values() for tag in profile.tags}
    for path, use in wanted:
        for tag in sorted(use.tags - known):
            where = _place_of_tag(context, path, tag)
            advice = did_you_mean(tag, known) or f"tags in use: {', '.join(sorted(known)) or 'none'}"
            yield Diagnostic("LMR303", f"no profile has the tag '{tag}'", context.locate(where), dotted(where), advice)


def _tags_one_can_choose() -> set[str]:
    """The tags of the profiles that could be selected, as far as their files can be read."""
    documents = [read(file.read_text(encoding="utf-8", errors="replace")).document for file in files("provider")]
    listed = [document.get("tags") for document in documents if isinstance(document, dict)]
    return {tag for tags in listed if isinstance(tags, list) for tag in tags if isinstance(tag, str)}


def _place_of_tag(context: Context, path: KeyPath, tag: str) -> KeyPath:
    *_, rule, _, use = path
    written = context.document["routing"]["rules"][int(rule)]["use"][int(use)]["select"]["tags"]
    return (*path, "select", "tags", str(written.index(tag)))


def reachable(context: Context) -> Iterator[Diagnostic]:
    """LMR304: a selected profile that no rule can ever choose."""
    in_use = reached(context)
    if not (in_use and context.all_rules) or _loose(context):  # LMR302 says it once for all of them
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
    """The enabled providers that some rule can choose."""
    uses = [use for _, _, use in _uses(context)]
    providers = context.providers.items()
    return frozenset(name for name, profile in providers if any(_reaches(use, name, profile) for use in uses))


def _reaches(use: Use, name: str, profile: Profile) -> bool:
    meant = name == use.provider if isinstance(use, Named) else use.matches(profile)
    return profile.enabled and meant


def names_of_rules(context: Context) -> Iterator[Diagnostic]:
    """LMR306: two rules of one name, which no record could tell apart."""
    seen: dict[str, KeyPath] = {}
    for path, rule in context.rules.items():
        first = seen.setdefault(rule.name, path)
        if first != path:
            key = (*path, "name")
            yield Diagnostic(
                "LMR306", f"another rule is called '{rule.name}' too", context.locate(key), dotted(key),
                "give each rule a name of its own",
                related=(Related("the first one", context.locate((*first, "name"))),),
            )  # fmt: skip


def repeats(context: Context) -> Iterator[Diagnostic]:
    """LMR309: a candidate twice in one rule; the second one is never tried."""
    seen: dict[tuple[KeyPath, Use], KeyPath] = {}
    for path, _, use in _uses(context):
        first = seen.setdefault((path[:-2], use), path)
        if first != path:
            yield Diagnostic(
                "LMR309", "the same candidate stands earlier in this rule", context.locate(path), dotted(path),
                "leave it out: a candidate is tried once", related=(Related("the first one", context.locate(first)),),
            )  # fmt: skip


def ranges(context: Context) -> Iterator[Diagnostic]:
    """LMR103: ``between`` with its ends the wrong way round, which no number can satisfy."""
    for rule in context.rules:
        raw = context.document["routing"]["rules"][int(rule[-1])]
        for path, value in _mappings(raw, rule):
            if "between" in value and value["between"][0] > value["between"][1]:
                low, high = value["between"]
                place = (*path, "between")
                message = f"nothing lies between {low} and {high}"
                yield Diagnostic("LMR103", message, context.locate(place), dotted(place), f"write [{high}, {low}]")


def _mappings(node: object, path: KeyPath) -> Iterator[tuple[KeyPath, dict[str, list[int]]]]:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from _mappings(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _mappings(value, (*path, str(index)))


def _uses(context: Context) -> Iterator[tuple[KeyPath, Rule, Use]]:
    for path, rule in context.rules.items():
        for index, use in enumerate(rule.use):
            yield (*path, "use", str(index)), rule, use
