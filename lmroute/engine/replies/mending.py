"""By what LM Studio's answer to a request is mended: what JSON was asked for, and who says ``<think>``.

With a schema some reasoning models answer inside their reasoning and leave the content empty (LM Studio 0.4.7 and
later); DSPy looks for the answer in the content only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dspy import lm15

from lmroute.engine.verdicts import own

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dspy.lm15 import Request

IN_REASONING = "the answer was taken out of the reasoning, where the model had put the JSON"
_DECODER = json.JSONDecoder()
_TRIES = 200
"""So many opening braces are looked at: each costs a reading of what follows."""
_OBJECT = re.compile(r"\{")


@dataclass(slots=True)
class Mending:
    """A request, as far as the mending of its answer needs it.

    Attributes:
        notes: what was mended so that the caller should know of it.
    """

    request: Request
    notes: list[str] = field(default_factory=list)

    @property
    def wants_json(self) -> bool:
        """Whether a JSON object was asked for by a schema."""
        return self._schema() is not None

    @property
    def thinks(self) -> bool:
        """Whether ``<think>`` at the beginning is the model's thinking, and no tag that the request speaks of."""
        return not any("<think>" in text for text in _prompt(self.request))

    def json_in(self, reasoning: str) -> str | None:
        """The JSON object that was asked for, out of the reasoning; ``None`` if it is not there."""
        schema = self._schema()
        found = None if schema is None else _last_object(reasoning, frozenset(schema.get("required") or ()))
        if found is not None:
            self.notes.append(IN_REASONING)
        return found

    def nothing(self, finish: str, *, reasoned: bool) -> lm15.ProviderError | None:
        """The error that an answer without content and tool calls is; ``None`` where the reasoning is something.

        What comes of the caller's own bounds tells nothing of the server: with ``stop`` an answer may be empty, and
        one that its ``max_tokens`` cut off is the request's failure.

        Args:
            finish: the answer's ``finish_reason``.
        """
        if finish == "length":
            limit = self.request.config.max_tokens
            allowed = f"all {limit} max_tokens" if limit else "all tokens there were"
            spent = "went into reasoning" if reasoned else "were used up, probably by reasoning,"
            advice = "raise max_tokens, or ask for less with reasoning_effort: none"
            kind = lm15.InvalidRequestError if limit else lm15.ProviderError
            return own(kind(f"no answer: {allowed} {spent} before it began; {advice}"))
        if reasoned or (finish == "stop" and self.request.config.stop):
            return None
        empty = "the model's answer is empty: no content, no reasoning, no tool calls"
        return own(lm15.ProviderError(f"{empty} (finish_reason {finish!r})"), empty)

    def _schema(self) -> Mapping[str, Any] | None:
        asked = self.request.config.response_format
        schema = asked.get("schema") if asked else None
        return schema if isinstance(schema, dict) and schema.get("type") == "object" else None


def _last_object(text: str, required: frozenset[str]) -> str | None:
    """The last JSON object in a text that has these keys."""
    found, at = None, 0
    for _ in range(_TRIES):
        brace = _OBJECT.search(text, at)
        if brace is None:
            break
        try:
            value, end = _DECODER.raw_decode(text, brace.start())
        except (ValueError, RecursionError):
            at = brace.end()
            continue
        if required <= value.keys():
            found = text[brace.start() : end]
        at = end
    return found


def _prompt(request: Request) -> list[str]:
    parts = [part for message in request.messages if message.role != "assistant" for part in message.parts]
    system = request.system or ()
    parts += [] if isinstance(system, str) else list(system)
    texts = [str(getattr(part, "text", None) or "") for part in parts]
    return [*texts, system] if isinstance(system, str) else texts
