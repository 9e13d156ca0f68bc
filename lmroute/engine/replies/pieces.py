"""A frame of a stream that is too long for DSPy's engine, as several: LM Studio may send arguments of tools in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 64 * 1024
"""Bytes of a line that lm15 takes."""
_PIECE = 5000
"""Characters in one frame at most: written in twelve bytes each, as emoji are, they still fit into a line."""
_TEXTS = ("content", "reasoning_content", "reasoning")


def cut(text: str) -> list[str]:
    """A text in pieces that fit into a frame each; none of an empty one."""
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]


def parts(frame: Any) -> list[dict[str, Any]]:
    """The frames that say one after the other what this one says at once; none when it is no frame of a chat.

    How it ends, and what was used, stand in the last.
    """
    try:
        choice = frame["choices"][0]
        said = list(_deltas(choice["delta"]))
    except (AttributeError, LookupError, TypeError):
        return []
    before = {key: value for key, value in frame.items() if key != "usage"}
    unfinished = {**choice, "finish_reason": None, "logprobs": None}
    made = [{**before, "choices": [{**unfinished, "delta": delta}]} for delta in said]
    return [*made, {**frame, "choices": [{**choice, "logprobs": None, "delta": {}}]}]


def _deltas(delta: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {key: value for key, value in delta.items() if key not in {*_TEXTS, "tool_calls"}}
    for key in _TEXTS:
        for piece in cut(delta.get(key) or ""):
            yield {key: piece}
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        yield {"tool_calls": [{**call, "function": {**function, "arguments": ""}}]}
        rest = {key: call[key] for key in ("index", "type") if key in call}
        for piece in cut(function.get("arguments") or ""):
            yield {"tool_calls": [{**rest, "function": {"arguments": piece}}]}
