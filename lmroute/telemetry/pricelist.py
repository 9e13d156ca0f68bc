"""The price list that LiteLLM ships, read without importing LiteLLM and without any network.

It is a JSON file of 3 MB in LiteLLM's distribution. A model is searched for in its text when it is first asked for, and
the rest is not kept: that takes a few milliseconds, where parsing the file takes ten times as long.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmroute.logs import logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_log = logger("lmroute.telemetry")
_FILE = "model_prices_and_context_window_backup.json"
_MOST_BYTES = 1 << 16  # of one model
_BEGINS = re.compile(rb"\s*:\s*(?=\{)")
_TEXT = frozenset({"chat", "completion", "responses"})
_NOT_BY_TOKENS_ALONE = frozenset({"input_cost_per_request", "off_peak_pricing", "tiered_pricing"})
_THRESHOLD = re.compile(r"input_cost_per_token_above_((\d+)k)_tokens")


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per million tokens, for prompts of more than ``above`` tokens.

    Attributes:
        cached, written: of a prompt's tokens, those that were read from the server's cache, or put into it.
    """

    input: float
    output: float
    cached: float
    written: float
    above: int = -1


def rates_of(vendor: str, name: str) -> tuple[Rates, ...]:
    """The rates of the model that the list has under exactly this name, or none.

    Args:
        vendor: LiteLLM's word for who sells it; empty for anybody.
    """
    return next(filter(None, map(_rates, _entries(_contents(), vendor, name))), ())


def _entries(data: bytes, vendor: str, name: str) -> Iterator[Mapping[str, Any]]:
    if vendor and (entry := _entry(data, f"{vendor}/{name}")):
        yield entry
    if entry := _entry(data, name):
        sold_by = entry["litellm_provider"]
        if vendor in {"", sold_by} or sold_by.startswith((f"{vendor}_", f"{vendor}-")):  # bedrock_converse
            yield entry


def _entry(data: bytes, key: str) -> Mapping[str, Any] | None:
    """What the file, a JSON object of objects, has under a key."""
    name = json.dumps(key).encode()
    named = (_BEGINS.match(data, place.end()) for place in re.finditer(re.escape(name), data))
    begins = next(filter(None, named), None)
    if begins is None:
        return None
    text = data[begins.end() : begins.end() + _MOST_BYTES].decode("utf-8", errors="replace")
    try:
        entry, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        _say_once(f"{_FILE} is no JSON at {key!r}")
        return None
    return entry if isinstance(entry.get("litellm_provider"), str) else None


def _rates(entry: Mapping[str, Any]) -> tuple[Rates, ...]:
    """The rates of a model; none when its price is no matter of its tokens alone.

    0 for everything is what the list has for subscriptions, local servers and prices that nobody looked up.
    """
    usual = _rates_above(entry, "")
    if usual is None or entry.get("mode") not in _TEXT or not _NOT_BY_TOKENS_ALONE.isdisjoint(entry):
        return ()
    reasoning = _number(entry, "output_cost_per_reasoning_token")
    if not (usual.input or usual.output) or reasoning not in {None, usual.output}:
        return ()
    thresholds = sorted((int(found[2]), found[1]) for found in map(_THRESHOLD.fullmatch, entry) if found)
    longer = (_rates_above(entry, f"_above_{shown}_tokens", thousands * 1000) for thousands, shown in thresholds)
    return (usual, *filter(None, longer))


def _rates_above(entry: Mapping[str, Any], suffix: str, above: int = -1) -> Rates | None:
    def rate(key: str) -> float | None:
        longer = _number(entry, key + suffix)
        return _number(entry, key) if longer is None else longer

    prompt, answer = rate("input_cost_per_token"), rate("output_cost_per_token")
    if prompt is None or answer is None:
        return None
    cached, written = rate("cache_read_input_token_cost"), rate("cache_creation_input_token_cost")
    return Rates(prompt, answer, prompt if cached is None else cached, prompt if written is None else written, above)


def _number(entry: Mapping[str, Any], key: str) -> float | None:
    """A price per token of the list as US dollars per million; ``None`` for what can be none."""
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return round(value * 1_000_000, 9)


def _contents() -> bytes:
    """LiteLLM's price list; empty when there is none."""
    try:
        spec = importlib.util.find_spec("litellm")
        folders = (spec.submodule_search_locations if spec else None) or []
        return Path(folders[0], _FILE).read_bytes()
    except (ImportError, IndexError, OSError, ValueError) as error:  # ValueError: a module without a spec
        _say_once(f"no price list of LiteLLM's: {type(error).__name__}: {error}")
        return b""


@cache
def _say_once(what: str) -> None:
    _log.debug("%s; what it would have told of prices is unknown", what)
