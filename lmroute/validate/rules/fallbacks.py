"""Rules about ``fallback``: it names a rule, and no chain of them comes back to where it began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.config.complaints import did_you_mean
from lmroute.diagnostics import Related
from lmroute.routing.policy import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lmroute.config.keypaths import KeyPath
    from lmroute.diagnostics import Diagnostic
    from lmroute.validate.written import Holder, Written


def dangling(holder: Holder) -> Iterator[Diagnostic]:
    """LMR301: a rule falls back on one that is not there."""
    policy = holder.written
    if policy is None or len(policy.names("rules")) < len(list(policy.listed("rules"))):  # it may be one of the others
        return
    known = [*policy.names("rules").values(), *([DEFAULT] if "default" in policy.raw else [])]
    for path, (rule, wanted) in _fallbacks(policy).items():
        if wanted not in known:
            message = f"rule '{rule}': there is no rule '{wanted}' to fall back on"
            others = f"there are {', '.join(known)}"
            advice = "the policy has no default of its own" if wanted == DEFAULT else did_you_mean(wanted, known)
            yield policy.finding("LMR301", path, message, advice or others)


def circular(holder: Holder) -> Iterator[Diagnostic]:
    """LMR312: rules that fall back on each other, or on themselves."""
    if (policy := holder.written) is None:
        return
    said = list(_fallbacks(policy).items())[::-1]  # of two rules of one name, the first
    places = {rule: path for path, (rule, _) in said}
    follows = {rule: wanted for _, (rule, wanted) in said}
    told: set[str] = set()
    for rule in reversed(places):
        circle = _circle(rule, follows)
        if circle and told.isdisjoint(circle):
            told.update(circle)
            way = " -> ".join([*circle, rule])
            others = tuple(
                Related(f"'{other}' falls back on '{follows[other]}'", policy.place(places[other]))
                for other in circle[1:]
            )
            advice = "the last rule of a chain has no fallback: leave it out of one of them"
            yield policy.finding("LMR312", places[rule], f"fallbacks go in a circle: {way}", advice, related=others)


def _fallbacks(policy: Written) -> dict[KeyPath, tuple[str, str]]:
    """Each rule that falls back and the one it names, by where that is said."""
    names = policy.names("rules")
    return {
        (*path, "fallback"): (names[path], raw["fallback"])
        for path, raw in policy.listed("rules")
        if path in names and raw.get("fallback") is not None and policy.readable((*path, "fallback"))
    }


def _circle(rule: str, follows: Mapping[str, str]) -> list[str]:
    """The rules from this one on until it comes again; none when it does not."""
    way = [rule]
    while (following := follows.get(way[-1])) is not None and following not in way:
        way.append(following)
    return way if following == rule else []
