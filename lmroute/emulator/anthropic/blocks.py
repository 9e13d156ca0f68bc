"""Anthropic's messages, content blocks and tools as those of a chat."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lmroute.emulator.anthropic.words import invalid

if TYPE_CHECKING:
    from lmroute.emulator.backends import ToolChoice

_CHOICES: dict[str, ToolChoice] = {"auto": "auto", "none": "none", "any": "required", "tool": "required"}


def chat_messages(body: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """``system`` and ``messages`` as one list.

    Raises:
        Refused: when there are no messages.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise invalid("messages: an array of messages is required")
    system = [{"role": "system", "content": _text(body["system"])}] if body.get("system") else []
    return (*system, *(part for message in messages for part in _parts(message)))


def chat_tools(value: Any) -> list[dict[str, Any]]:
    """Tools with their ``input_schema`` as parameters.

    Raises:
        Refused: when one has none, as Anthropic's own tools have.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid("tools: an array of tools is required")
    return [_tool(index, tool) for index, tool in enumerate(value)]


def tool_choice(value: Any) -> tuple[ToolChoice, str | None]:
    """How to choose, and the one tool that may be called when the request names it.

    Raises:
        Refused: when it is no choice.
    """
    if value is None:
        return "auto", None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in _CHOICES:
        raise invalid(f"tool_choice.type: one of {', '.join(_CHOICES)} is required")
    return _CHOICES[kind], value.get("name") if kind == "tool" else None


def _tool(index: int, tool: Any) -> dict[str, Any]:
    if not isinstance(tool, dict) or not isinstance(tool.get("input_schema"), dict):
        raise invalid(f"tools.{index}.input_schema: a JSON Schema is required")
    # Anthropic lets a schema do without properties; the chat side of LM Studio's validator does not.
    function = {"name": tool.get("name"), "parameters": {"properties": {}, **tool["input_schema"]}}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    """One message of Anthropic's as those of a chat: results of tools first, then the rest."""
    role, content = message.get("role"), message.get("content")
    if not isinstance(content, list):
        return [{"role": role, "content": content}]
    blocks = [block for block in content if isinstance(block, dict)]
    results = [
        {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": _text(block.get("content"))}
        for block in blocks
        if block.get("type") == "tool_result"
    ]
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    shown = [_shown(block) for block in blocks if block.get("type") in {"text", "image"}]
    if calls:
        return [*results, {"role": role, "content": _text(content), "tool_calls": calls}]
    return [*results, {"role": role, "content": shown}] if shown else results


def _call(block: dict[str, Any]) -> dict[str, Any]:
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    return {"type": "function", "id": block.get("id"), "function": {"name": block.get("name"), "arguments": arguments}}


def _shown(block: dict[str, Any]) -> dict[str, Any]:
    if block["type"] == "text":
        return {"type": "text", "text": block.get("text")}
    source = block.get("source") or {}
    data = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
    return {"type": "image_url", "image_url": {"url": data}}


def _text(content: Any) -> str:
    """The text of a content that is a text or a list of blocks."""
    if isinstance(content, list):
        return "\n".join(str(b["text"]) for b in content if isinstance(b, dict) and b.get("type") == "text")
    return content if isinstance(content, str) else ""
