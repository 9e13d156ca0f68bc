"""Items of ``/v1/responses`` as messages and tools of a chat."""

from __future__ import annotations

from typing import Any

from lmroute.emulator import refusals


def chat_messages(value: Any) -> tuple[dict[str, Any], ...]:
    """The messages of an ``input``, which is a text or a list of items.

    Raises:
        Refused: when it is neither; LM Studio's own words for that are unknown.
    """
    if isinstance(value, str):
        return ({"role": "user", "content": value},)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise refusals.openai_error("Required", "input", "missing_required_parameter")
    return tuple(message for index, item in enumerate(value) for message in _message(index, item))


def chat_tools(value: Any) -> list[dict[str, Any]]:
    """Function tools in the form that chat completions have.

    Raises:
        Refused: for any other kind of tool.
    """
    if not isinstance(value, list):
        return []
    for tool in value:
        if not isinstance(tool, dict) or tool.get("type") != "function":
            kind = tool.get("type") if isinstance(tool, dict) else tool
            raise refusals.openai_error(f"lmroute's emulator has no '{kind}' tools, only functions", "tools", None)
    return [
        {"type": "function", "function": {name: part for name, part in tool.items() if name != "type"}}
        for tool in value
    ]


def _message(index: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    kind = item.get("type", "message")
    if kind == "function_call":
        function = {name: item.get(name, "") for name in ("name", "arguments")}
        call = {"type": "function", "id": item.get("call_id"), "function": function}
        return [{"role": "assistant", "content": "", "tool_calls": [call]}]
    if kind == "function_call_output":
        return [{"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}]
    if kind == "reasoning":
        return []
    if kind != "message":
        raise refusals.openai_error(f"Invalid item type '{kind}'", f"input[{index}].type", "invalid_value")
    role = "system" if item.get("role") == "developer" else item.get("role")
    return [{"role": role, "content": _content(item.get("content"))}]


def _content(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [_part(part) for part in value if isinstance(part, dict)]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
    return {"type": "text", "text": part.get("text")}
