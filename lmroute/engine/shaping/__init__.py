"""Fit a request to the candidate that is about to get it, and say what was changed.

Nothing is dropped silently: every change that a caller could notice is returned in words and ends up in the trace.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dspy import lm15

from lmroute.engine.shaping import lmstudio
from lmroute.engine.shaping.json_modes import appended, fit_json
from lmroute.engine.shaping.params import with_params
from lmroute.engine.verdicts import own
from lmroute.providers.catalog import TYPES, Dialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from dspy.lm15 import Request

    from lmroute.model import Profile

_SPELLINGS: dict[str, Callable[[Request, Profile, frozenset[str] | None], tuple[Request, tuple[str, ...]]]] = {
    "lmstudio": lmstudio.spelled,
}
"""What a type of server takes in other words than its dialect has."""


def fit(request: Request, profile: Profile) -> tuple[Request, tuple[str, ...]]:
    """The request as this provider's profile has it, and what differs from what was asked, in words.

    Raises:
        lm15.ConfigurationError: the profile's ``params`` hold a value that no model takes.
    """
    config, degraded, instruction = fit_json(request.config, profile.capabilities.json_mode)
    try:
        if profile.params or config.extensions:
            config = with_params(config, dict(profile.params))
    except (TypeError, ValueError) as error:
        raise own(lm15.ConfigurationError(f"providers.{profile.id}.params: {error}")) from error
    if config.top_k is not None and _takes_top_k(profile):
        config = replace(config, top_k=None, extensions={"top_k": config.top_k, **(config.extensions or {})})
    if instruction:
        request = replace(request, config=config, system=appended(request.system, instruction))
    elif config is not request.config:
        request = replace(request, config=config)
    return request, degraded


def within(request: Request, left: int) -> tuple[Request, tuple[str, ...]]:
    """The request with an answer no longer than what is left of the window, in tokens, and that it was bounded.

    Where nothing is left by the estimate, the server knows better what fits.
    """
    asked = request.config.max_tokens
    if asked is None or not 0 < left < asked:
        return request, ()
    note = f"max_tokens {asked} sent as {left}, which is what the prompt leaves of the window"
    return replace(request, config=replace(request.config, max_tokens=left)), (note,)


def spelled(
    request: Request, profile: Profile, reasoning: frozenset[str] | None = None
) -> tuple[Request, tuple[str, ...]]:
    """The request in the words of this type of server, and what it cannot be told.

    Args:
        reasoning: the settings of reasoning that the server lists for the model, empty if it has none; ``None`` when
            it does not say, and the profile's word counts.
    """
    spelling = _SPELLINGS.get(profile.type)
    return (request, ()) if spelling is None else spelling(request, profile, reasoning)


def _takes_top_k(profile: Profile) -> bool:
    """Whether a server of OpenAI's dialect takes ``top_k`` all the same: all do but OpenAI's own.

    lm15 takes the dialect by its word and would drop the field.
    """
    return TYPES[profile.type].dialect is Dialect.OPENAI_CHAT and profile.type != "openai"
