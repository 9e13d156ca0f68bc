"""What speaks against a candidate, in the order in which it is asked; each objection is a reason that people read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lmroute.routing.classes import overflow_at

if TYPE_CHECKING:
    from lmroute.model import Attributes, Candidate, Facts, Profile
    from lmroute.routing.policy import Option

OVERFLOW = "context window too small"
"""How an objection for want of window begins; the engine answers such a request with a context-length error."""

GUARANTEE = "guarantee"
"""How an objection by a guarantee begins."""


LACKS = {"tools": "cannot call tools", "vision": "cannot see images", "reasoning": "cannot reason"}
"""The objection for want of each capability."""

BUSY = "busy"
"""How a doubt for want of a free slot begins."""


def objection(option: Option, attributes: Attributes, facts: Facts) -> str:
    """Why a candidate may not be asked, whoever else is left; empty when it may."""
    return (
        forbidden(option, attributes)
        or unable(option.profile, attributes)
        or too_small(option, attributes, facts)
        or facts.throttled.get(option.candidate, "")
        or _spent(option, facts)
    )


def doubt(option: Option, facts: Facts) -> str:
    """Why a candidate had better not be asked while there are others; empty when nothing is known against it."""
    return facts.out.get(option.candidate, "")


def busy(option: Option, facts: Facts) -> str:
    """Whether all of a candidate's slots are taken, in words; empty when one is free."""
    limit = option.profile.concurrency
    if limit is None or facts.load.get(option.candidate, 0) < limit:
        return ""
    return f"{BUSY}: its limit is {limit} at once"


def forbidden(option: Option, attributes: Attributes) -> str:
    """The guarantee that forbids it, in words."""
    if not option.profile.enabled:
        return "disabled"
    for name, holds in option.forbidden:
        if holds(attributes):
            return f"{GUARANTEE} '{name}' forbids it"
    return ""


def unable(profile: Profile, attributes: Attributes) -> str:
    """What the request needs and the provider cannot do, in words."""
    capabilities = profile.capabilities
    if attributes.needs_tools and not capabilities.tools:
        return LACKS["tools"]
    if attributes.needs_vision and not capabilities.vision:
        return LACKS["vision"]
    if attributes.needs_reasoning and not capabilities.reasoning:
        return LACKS["reasoning"]
    return ""


def too_small(option: Option, attributes: Attributes, facts: Facts) -> str:
    """Why the request does not fit, in words."""
    window = window_of(option.candidate, option.profile, facts)
    if window is None or attributes.total_tokens < overflow_at(window):
        return ""
    return f"{OVERFLOW}: {window} tokens (more than {overflow_at(window) - 1} are asked for)"


def fits_but_for_the_answer(option: Option, attributes: Attributes, facts: Facts) -> bool:
    """Whether nothing speaks against a candidate but that its window is too small for an answer as long as allowed."""
    prompt = replace(attributes, max_output_tokens=0)
    return (
        bool(too_small(option, attributes, facts))
        and not too_small(option, prompt, facts)
        and not (
            forbidden(option, attributes)
            or unable(option.profile, attributes)
            or option.candidate in facts.throttled
            or _spent(option, facts)
        )
    )


def window_of(candidate: Candidate, profile: Profile, facts: Facts) -> int | None:
    """A candidate's context window in tokens, as its server says it, else as its profile does."""
    return facts.windows.get(candidate, profile.context_window)


def _spent(option: Option, facts: Facts) -> str:
    for name in option.budgets:
        if name in facts.spent:
            return f"budget '{name}' is used up"
    return ""
