"""What a call cost: by the profile's prices, else by the price list that LiteLLM ships. A local server costs nothing.

This is for what *was* spent: records and budgets. Decisions (``order: cost``) and ``replay`` go by the profile's
``cost`` alone, because proofs are made from the configuration and must not change with LiteLLM's version.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

from lmroute.model import Cost, Locality
from lmroute.telemetry.pricelist import Rates, rates_of

if TYPE_CHECKING:
    from lmroute.model import Profile

    Source: TypeAlias = Literal["profile", "local", "litellm"]
    """Whose price it is. ``local``: a server of one's own that the profile states no price for, so it is 0."""

_MOST_TOKENS = 100_000_000  # of one call, as in ``routing.budget``

_VENDORS = {
    "api.anthropic.com": "anthropic",
    "api.cerebras.ai": "cerebras",
    "api.deepinfra.com": "deepinfra",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks_ai",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.moonshot.ai": "moonshot",
    "api.openai.com": "openai",
    "api.perplexity.ai": "perplexity",
    "api.sambanova.ai": "sambanova",
    "api.together.ai": "together_ai",
    "api.together.xyz": "together_ai",
    "api.x.ai": "xai",
    "generativelanguage.googleapis.com": "gemini",
    "openrouter.ai": "openrouter",
}
"""LiteLLM's word for who sells at an address, from its ``get_llm_provider``. Others may sell at other prices."""

_SERVICES = frozenset({"anthropic", "gemini", "openai", "openrouter"})
"""Types whose server is that vendor's unless the profile names an endpoint, as ``providers.catalog`` has it."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost; unknown without rates.

    Attributes:
        rates: the usual ones first, then those for longer and longer prompts.
    """

    source: Source | None = None
    rates: tuple[Rates, ...] = ()

    @property
    def cost(self) -> Cost | None:
        """The usual price."""
        return Cost(self.rates[0].input, self.rates[0].output) if self.rates else None


UNKNOWN = Price()


def price_of(profile: Profile, model: str) -> Price:
    """What the tokens of a model cost at a provider. Under a microsecond when it was asked before; from any thread.

    Args:
        model: the one that was asked for, since that is what a vendor charges, or who answered if that was ``auto``.
            With ``type: litellm`` its name tells the vendor: ``groq/openai/gpt-oss-20b``.
    """
    return _price(profile.type, profile.endpoint, profile.locality, profile.cost, model)


def charged(
    price: Price,
    input_tokens: int | None,
    output_tokens: int | None,
    cached_tokens: int | None = None,
    written_tokens: int | None = None,
) -> float | None:
    """US dollars of a call; ``None`` when the price is unknown, or tokens that are not free were not told.

    Args:
        input_tokens: of the whole prompt, the two below included.
        output_tokens: of the whole answer, reasoning included.
        cached_tokens, written_tokens: those read from the server's cache, or put into it. Where only the profile tells
            the price they cost what all others do.
    """
    if not price.rates:
        return None
    rates = price.rates[0]
    if not (rates.input or rates.output):
        return 0.0
    prompt, answer = _told(input_tokens), _told(output_tokens)
    if prompt is None or answer is None:
        return None
    for longer in price.rates[1:]:
        rates = longer if prompt > longer.above else rates
    cached = min(_told(cached_tokens) or 0, prompt)
    written = min(_told(written_tokens) or 0, prompt - cached)
    usual = prompt - cached - written
    usd = usual * rates.input + cached * rates.cached + written * rates.written + answer * rates.output
    return usd / 1_000_000


def _told(tokens: int | None) -> int | None:
    """A count that can be true."""
    return tokens if tokens is not None and 0 <= tokens <= _MOST_TOKENS else None


@lru_cache(maxsize=4096)
def _price(type_: str, endpoint: str | None, locality: Locality, cost: Cost | None, model: str) -> Price:
    # A local server may well call its model what a vendor calls one that it sells.
    if locality is not Locality.CLOUD and cost in {None, Cost()}:
        return Price("local", (Rates(0, 0, 0, 0),))
    if cost is not None:
        prompt, answer = cost.input_per_mtok, cost.output_per_mtok
        return Price("profile", (Rates(prompt, answer, cached=prompt, written=prompt),))
    vendor = _vendor(type_, endpoint, model)
    found = rates_of(vendor, model.removeprefix(f"{vendor}/")) if vendor is not None else ()
    return Price("litellm", found) if found else UNKNOWN


def _vendor(type_: str, endpoint: str | None, model: str) -> str | None:
    """LiteLLM's word for who sells; empty when a name without one says it all; ``None`` when nobody knows."""
    at = _VENDORS.get(_host(endpoint)) if endpoint else None
    if type_ != "litellm":
        return at or (type_ if type_ in _SERVICES and not endpoint else None)
    prefix = model.partition("/")[0] if "/" in model else ""
    has_own_address = prefix and prefix not in _VENDORS.values()  # Azure, Bedrock: everybody has their own
    return prefix if not endpoint or at == prefix or has_own_address else None


def _host(endpoint: str) -> str:
    try:
        return urlsplit(endpoint).hostname or ""
    except ValueError:
        return ""
