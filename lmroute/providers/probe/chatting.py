"""The seventh phase, on demand only: a chat of one token. A server that lists a model need not answer with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lmroute.model import AUTO, Failure
from lmroute.providers.catalog import TYPES, Dialect
from lmroute.providers.http import message_of
from lmroute.providers.inventory import find, is_answer, opened
from lmroute.providers.inventory.models import mapping
from lmroute.providers.lmstudio.meanings import meaning_of
from lmroute.providers.probe.asking import with_token_advice
from lmroute.providers.probe.diagnosis import FAILURES, of_error, of_reply
from lmroute.providers.probe.faults import ErrorCode, Fault
from lmroute.providers.probe.result import ProbeResult, sick
from lmroute.providers.probe.states import Outcome, Phase
from lmroute.providers.probe.stopwatch import Stopwatch
from lmroute.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmroute.model import Profile
    from lmroute.providers.http import Reply
    from lmroute.providers.inventory import Line
    from lmroute.providers.probe.asking import Question

FEWEST, FEW = 1, 16
"""Tokens of the answer. Some reasoning models refuse one; sixteen is what OpenAI's Responses API takes at least."""

_ASKED = "Hi"


@dataclass(frozen=True, slots=True)
class _Chat:
    """How a dialect chats.

    Attributes:
        path: under the base URL, with a place for the model.
        body: of the request, from model, most tokens, and what this server calls those.
        answered: whether a body is an answer: one that its length ended may be without a text.
    """

    path: str
    body: Callable[[str, int, str], dict[str, Any]]
    answered: Callable[[dict[str, object]], bool]


def _openai(model: str, tokens: int, bound: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": _ASKED}], bound: tokens}


def _gemini(_model: str, tokens: int, bound: str) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": _ASKED}]}], "generationConfig": {bound: tokens}}


def _openai_answered(body: dict[str, object]) -> bool:
    choice = _first(body.get("choices"))
    message = choice.get("message")
    return isinstance(message, dict) and isinstance(message.get("content") or choice.get("finish_reason"), str)


def _anthropic_answered(body: dict[str, object]) -> bool:
    content = body.get("content")
    return body.get("type") == "message" and isinstance(content, list) and bool(content or body.get("stop_reason"))


def _gemini_answered(body: dict[str, object]) -> bool:
    candidate = _first(body.get("candidates"))
    return isinstance(candidate.get("content"), dict) or isinstance(candidate.get("finishReason"), str)


def _first(told: object) -> dict[str, object]:
    return mapping(told[0]) if isinstance(told, list) and told else {}


_CHATS = {
    Dialect.OPENAI_CHAT: _Chat("/chat/completions", _openai, _openai_answered),
    Dialect.ANTHROPIC: _Chat("/messages", _openai, _anthropic_answered),
    Dialect.GEMINI: _Chat("/models/{model}:generateContent", _gemini, _gemini_answered),
}
_BOUNDS = {"openai": "max_completion_tokens", "gemini": "maxOutputTokens"}
"""What a type of server calls the most tokens of an answer; ``max_tokens`` elsewhere."""

_TOO_FEW = re.compile(r"max_?(?:completion_|output_)?tokens|output limit", re.IGNORECASE)
_OTHER_BOUND = re.compile(r"\buse '?(max_completion_tokens|max_tokens)\b", re.IGNORECASE)
_REFUSES = frozenset({400, 422})

_NO_MODEL = re.compile(
    r"^model: |model_not_found|(?:unknown|invalid) model|models?\b.{1,200}(?:not found|does ?n[o']t exist)",
    re.IGNORECASE | re.DOTALL,
)
"""Anthropic's words, OpenAI's code, and how Ollama, vLLM, OpenRouter and Gemini say it."""
_MEANINGS = {
    Failure.UNSUPPORTED_MODEL: ErrorCode.MODEL_NOT_FOUND,
    Failure.UNAVAILABLE: ErrorCode.SERVER_ERROR,
    Failure.SERVER: ErrorCode.SERVER_ERROR,
}
"""Of LM Studio's words, which come with any status."""
_VAGUE = frozenset({ErrorCode.NOT_FOUND, ErrorCode.HTTP_ERROR, ErrorCode.UNEXPECTED_SHAPE, ErrorCode.SERVER_ERROR})
"""What a status alone makes of an answer, and its words may correct."""


def not_asked(result: ProbeResult, why: str) -> ProbeResult:
    """A result that says why there was no chat."""
    return replace(result, phases=(*result.phases, Phase("chat", note=f"not asked: {why}")))


def with_chat(question: Question, result: ProbeResult) -> ProbeResult:
    """A result, and whether the first configured model that the server lists answers. Asks once: it is billed.

    The chat has a bound of its own, ``load_s + total_s`` of the profile: the server may load the model for it.
    """
    profile = question.profile
    name, model = next(((n, m) for n in profile.models if (m := find(result.models, n, profile))), ("", None))
    if model is None:
        return not_asked(result, "no model is known that could answer")
    asked, watch = model.id if name == AUTO else name, Stopwatch()
    fault = _fault(question, result, asked, watch)
    outcome = Outcome.FAILED if fault else Outcome.OK
    phases = (*result.phases, Phase("chat", watch.total_ms, outcome, note=f"with '{one_line(asked)}'"))
    if fault is None:
        return replace(result, phases=phases)
    bad = sick(
        profile,
        replace(fault, message=f"a chat with '{one_line(asked)}': {fault.message}"),
        address=question.address,
        phases=phases,
        latency_ms=result.latency_ms,
        inventory=result.inventory,
        missing=result.missing,
    )
    return replace(bad, tries=result.tries)


def _fault(question: Question, result: ProbeResult, model: str, watch: Stopwatch) -> Fault | None:
    profile, limits = question.profile, question.profile.timeouts
    chat = _CHATS[TYPES[profile.type].dialect]
    try:
        with opened(
            profile,
            question.address,
            question.listing,
            question.token,
            total_s=limits.load_s + limits.total_s,
            resolver=watch.resolve,
        ) as line:
            reply = _reply(line, chat, model, watch)
    except FAILURES as error:
        return of_error(error, watch.fail())
    if not reply.ok:
        return with_token_advice(_refused(reply), question, reply.status)
    body = mapping(reply.body)
    if not chat.answered(body):
        return Fault(ErrorCode.UNEXPECTED_SHAPE, "the answer is JSON, but no answer to a chat")
    return _substituted(profile, result, model, body.get("model"))


def _reply(line: Line, chat: _Chat, model: str, watch: Stopwatch) -> Reply:
    """The answer, to a second question where the first one was refused for the number of tokens, or its name."""
    path = chat.path.format(model=quote(model, safe=""))
    bound = _BOUNDS.get(line.profile.type, "max_tokens")
    reply = line.ask(path, _body(line.profile, chat.body(model, FEWEST, bound)), trace=watch.trace)
    said = message_of(reply.body)
    if reply.status not in _REFUSES or not _TOO_FEW.search(said):
        return reply
    if other := _OTHER_BOUND.search(said):
        bound = other[1].lower()
    return line.ask(path, _body(line.profile, chat.body(model, FEW, bound)), trace=watch.trace)


def _body(profile: Profile, body: dict[str, Any]) -> dict[str, Any]:
    # A model that is loaded for this leaves again when the profile says so.
    return body if profile.load.ttl_s is None else {**body, "ttl": profile.load.ttl_s}


def _refused(reply: Reply) -> Fault:
    fault = of_reply(reply) or Fault(ErrorCode.UNEXPECTED_SHAPE, "no answer to a chat")
    if fault.code not in _VAGUE:
        return fault
    said = message_of(reply.body)
    code = _MEANINGS.get(meaning) if (meaning := meaning_of(said)) else None
    told = mapping(mapping(reply.body).get("error"))
    if code is None and (_NO_MODEL.search(said) or told.get("code") == "model_not_found"):
        code = ErrorCode.MODEL_NOT_FOUND
    return replace(fault, code=code or fault.code)


def _substituted(profile: Profile, result: ProbeResult, asked: str, answered: object) -> Fault | None:
    """LM Studio answers with what it has loaded when it does not know the model that it is asked for."""
    if not TYPES[profile.type].strict_model or not isinstance(answered, str):
        return None
    if profile.on_substitution != "error" or is_answer(result.models, asked, answered):
        return None
    return Fault(ErrorCode.MODEL_NOT_FOUND, f"'{one_line(answered)}' answered instead")
