"""The words of a test that only its policy and providers can tell the meaning of; an unknown one is a mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.config.complaints import did_you_mean, selection, unselected
from lmroute.config.keypaths import dotted
from lmroute.config.secrecy import quoted
from lmroute.diagnostics import Diagnostic
from lmroute.routing.policy import CALLER_CHOICE
from lmroute.validate.policy_tests.requests import unknown_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmroute.config.keypaths import KeyPath
    from lmroute.routing.policy import CompiledPolicy
    from lmroute.validate.files import File

_WHO = ("down", "throttled")
_WHOSE = ("fails", "load", "latency_ms")
_WHO_EXPECTED = ("asked", "candidates", "never")


def unknown(raw: dict[str, Any], path: KeyPath, policy: CompiledPolicy, file: File) -> Iterator[Diagnostic]:
    """What a test says that means nothing. ``path`` is where it stands in its file."""
    request, expected = raw.get("request", {}), raw["expect"]
    yield from unknown_words(request, (*path, "request"), policy.source, file)
    who = dict(_named(raw, path))
    keys = {(*path, key, name): name for key in _WHOSE for name in raw.get(key, {})}
    for at_key, named in ((False, who), (True, keys)):
        for where, name in named.items():
            if wrong := _no_candidate(name, policy):
                yield Diagnostic("LMR103", wrong[0], file.locate(where, key=at_key), dotted(where), wrong[1])
    budgets = [budget.name for budget in policy.source.budgets]
    for index, name in enumerate(raw.get("budget_used", ())):
        if name not in budgets:
            yield _foreign("budget", name, budgets, file, (*path, "budget_used", str(index)))
    rules = [rule.name for rule in policy.rules] + ([CALLER_CHOICE] if policy.caller_choice else [])
    if expected.get("rule") is not None and expected["rule"] not in rules:
        yield _foreign("rule", expected["rule"], rules, file, (*path, "expect", "rule"))


def _named(raw: dict[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Every mention of a provider or candidate that is a value."""
    for where, lists in ((path, {key: raw.get(key, ()) for key in _WHO}),
                         ((*path, "expect"), {key: raw["expect"].get(key, ()) for key in _WHO_EXPECTED})):  # fmt: skip
        for key, names in lists.items():
            yield from (((*where, key, str(index)), name) for index, name in enumerate(names))
    for where, holder, key in (((*path, "request"), raw.get("request", {}), "use"),
                               ((*path, "expect"), raw["expect"], "answered_by")):  # fmt: skip
        if key in holder:
            yield (*where, key), holder[key]


def _no_candidate(name: str, policy: CompiledPolicy) -> tuple[str, str] | None:
    """Why a name means no provider or candidate, and what to do."""
    provider, _, model = name.partition("/")
    profile = policy.providers.get(provider)
    if profile is None:
        message, advice = unselected(provider, list(policy.providers))
        near = did_you_mean(provider, policy.providers)
        known = selection([*policy.providers, provider])
        return message, near or (f"write {known} in the overrides" if advice.endswith(known) else advice)
    rules = (*policy.rules, *filter(None, [policy.caller_choice]))
    listed = {*profile.models, *(o.candidate.model for r in rules for o in r.options if o.profile is profile)}
    if not model or model in listed:
        return None
    advice = did_you_mean(model, listed) or f"it has {', '.join(sorted(listed))}"
    return f"provider '{provider}' has no model {quoted(model)}", advice


def _foreign(kind: str, name: str, known: Sequence[str], file: File, path: KeyPath) -> Diagnostic:
    advice = did_you_mean(name, known) or (f"it has {', '.join(known)}" if known else "it has none")
    message = f"the policy has no {kind} {quoted(name, *path)}"
    return Diagnostic("LMR103", message, file.locate(path), dotted(path), advice)
