"""Rules about names: the providers, models and tags that a policy speaks of are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.config.complaints import did_you_mean, selection
from lmroute.config.keypaths import dotted
from lmroute.config.paths import files, options
from lmroute.config.text.yaml11 import read
from lmroute.diagnostics import Diagnostic
from lmroute.model import AUTO, Named, Selector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.validate.context import Context, Entry


def names(context: Context) -> Iterator[Diagnostic]:
    """LMR301: a provider that is not selected or not there at all, or a model that its provider does not list."""
    for entry in context.entries:
        if isinstance(entry.use, Named):
            found = _unresolved(entry.use.provider, entry.use.model, context)
            yield from _told(context, entry, entry.path, found)
        else:
            for name, _ in entry.use.weights:
                yield from _told(context, entry, (*entry.path, "weights", name), _weightless(name, entry.use, context))
    yield from _of_traits(context)


def _told(context: Context, entry: Entry, path: KeyPath, found: tuple[str, str] | None) -> Iterator[Diagnostic]:
    if found:
        place = context.locate(path, key=path != entry.path)
        yield Diagnostic("LMR301", f"{entry.owner}: {found[0]}", place, dotted(path), found[1])


def _unresolved(provider: str, model: str | None, context: Context) -> tuple[str, str] | None:
    if provider not in context.selected:
        return _not_selected(provider, context.selected)
    profile = context.providers.get(provider)
    if profile is None or model is None or model in profile.models or AUTO in profile.models:
        return None
    return _unlisted(provider, model, profile.models)


def _unlisted(provider: str, model: str, models: tuple[str, ...]) -> tuple[str, str]:
    hint = did_you_mean(model, models)
    return f"provider '{provider}' lists no model '{model}'", hint or f"it lists {', '.join(models)}"


def _not_selected(provider: str, selected: tuple[str, ...]) -> tuple[str, str]:
    if provider in options("provider"):
        return f"provider '{provider}' is not selected", f"add it: {selection([*selected, provider])}"
    return _nowhere(provider, selected)


def _nowhere(provider: str, selected: tuple[str, ...]) -> tuple[str, str]:
    hint = did_you_mean(provider, {*selected, *options("provider")})
    return f"there is no provider '{provider}'", hint or f"selected: {', '.join(selected)}"


def _weightless(name: str, selector: Selector, context: Context) -> tuple[str, str] | None:
    """What keeps a share from being anybody's. A policy may have shares for who is not selected today."""
    provider, _, model = name.partition("/")
    if provider not in context.selected:
        return None if provider in options("provider") else _nowhere(provider, context.selected)
    profile = context.providers.get(provider)
    if profile is None:
        return None
    if model and model not in profile.models:
        return _unlisted(provider, model, profile.models)
    if not selector.matches(profile):
        return f"the selector does not select '{provider}', so its share is nobody's", "leave it out, or select it too"
    return None


def _of_traits(context: Context) -> Iterator[Diagnostic]:
    """Ids in traits, of which a policy may name some that are not selected today."""
    for path, name in _trait(context, "providers"):
        if name not in context.selected and name not in options("provider"):
            message, advice = _nowhere(name, context.selected)
            yield Diagnostic("LMR301", message, context.locate(path), dotted(path), advice)


def tags(context: Context) -> Iterator[Diagnostic]:
    """LMR303: traits with a tag that no profile carries, chosen or not: it is misspelt, and means nobody."""
    carried = {tag for profile in context.providers.values() for tag in profile.tags}
    wanted = [(path, tag) for path, tag in _trait(context, "tags") if tag not in carried]
    if not wanted or not context.all_providers:
        return
    known = carried | _tags_one_can_choose()
    for path, tag in wanted:
        if tag not in known:
            advice = did_you_mean(tag, known) or f"tags in use: {', '.join(sorted(known)) or 'none'}"
            yield Diagnostic("LMR303", f"no profile has the tag '{tag}'", context.locate(path), dotted(path), advice)


def _tags_one_can_choose() -> set[str]:
    """The tags of the profiles that could be selected, as far as their files can be read."""
    documents = [read(file.read_text(encoding="utf-8", errors="replace")).document for file in files("provider")]
    listed = [document.get("tags") for document in documents if isinstance(document, dict)]
    return {tag for tags in listed if isinstance(tags, list) for tag in tags if isinstance(tag, str)}


def _trait(context: Context, trait: str) -> Iterator[tuple[KeyPath, str]]:
    """Every name that traits have of a kind, of selectors, guarantees and budgets, with where it stands."""
    if (policy := context.written) is None:
        return
    for path, raw in policy.traits():
        listed: Any = raw.get(trait)
        for index, name in enumerate(listed if isinstance(listed, list) else ()):
            here = (*path, trait, str(index))
            if policy.readable(here):
                yield here, name
