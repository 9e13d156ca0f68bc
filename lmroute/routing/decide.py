"""The decision: which candidates may serve this request, in which order, and why the others may not.

``decide`` is pure: the same policy, attributes and windows give the same decision, so it can be replayed and explained
without a server.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from lmroute.model import Attributes, Candidate, Considered, Decision, Profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmroute.routing.policy import CompiledPolicy

OVERFLOW = "context window too small"
"""How an objection for want of window begins; the engine answers such a request with a context-length error."""

# prompt_tokens is an estimate. Refusing what would have fitted is worse than asking a server that then refuses itself.
_ESTIMATE_SLACK = 0.8

NO_WINDOWS: Mapping[Candidate, int] = MappingProxyType({})


def decide(policy: CompiledPolicy, attributes: Attributes, windows: Mapping[Candidate, int] = NO_WINDOWS) -> Decision:
    """Choose candidates for one request.

    Args:
        windows: context windows in tokens that were learned from the servers; they beat the profiles' own.
    """
    rule = policy.rule_for(attributes)
    if rule is None:
        return Decision(rule="", considered=())
    objections = [
        _objection(profile, attributes, windows.get(candidate, profile.context_window))
        for candidate, profile in rule.candidates
    ]
    if not any(objections):
        return rule.undisputed
    considered = tuple(Considered(c, why) for (c, _), why in zip(rule.candidates, objections, strict=True))
    return Decision(rule.name, considered, rule.fallback_on)


def _objection(profile: Profile, attributes: Attributes, window: int | None) -> str:
    """Why this provider may not serve the request; empty when it may."""
    if not profile.enabled:
        return "disabled"
    capabilities = profile.capabilities
    if attributes.needs_tools and not capabilities.tools:
        return "cannot call tools"
    if attributes.needs_vision and not capabilities.vision:
        return "cannot see images"
    if attributes.needs_reasoning and not capabilities.reasoning:
        return "cannot reason"
    needed = attributes.prompt_tokens + attributes.max_output_tokens
    if window is not None and needed * _ESTIMATE_SLACK > window:
        return f"{OVERFLOW}: needs about {needed} of {window} tokens"
    return ""
