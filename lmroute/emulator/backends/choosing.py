"""Which tools the scripted model calls, with which arguments."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lmroute.emulator.backends import RequestRefused, ToolCall
from lmroute.emulator.backends.from_schema import instance_of
from lmroute.emulator.backends.schemas import Unsupported
from lmroute.emulator.backends.texts import last_question, whole_text

if TYPE_CHECKING:
    from lmroute.emulator.backends import Prompt
    from lmroute.emulator.backends.script import Line


def chosen_calls(prompt: Prompt, line: Line | None) -> list[ToolCall]:
    """The calls that answer ``prompt``; none when the answer is to be a text.

    The tools of a script's ``line`` are called as they stand. Without a line, ``required`` calls those tools that
    the last user message names, the first one if it names none; ``auto`` calls only those that it names. Unless a
    call is required, what a tool has said since that message is answered with a text.
    """
    if not prompt.tools or prompt.tool_choice == "none":
        return []
    required = prompt.tool_choice == "required"
    if not required and _has_result(prompt):
        return []
    if line and line.tools:
        return [ToolCall(name, arguments) for name, arguments in line.tools]
    if line and not required:
        return []
    functions = [tool["function"] for tool in prompt.tools]
    named = [function for function in functions if _names(last_question(prompt), function["name"])]
    return [_call(function, prompt) for function in named or functions[:required]]


def _has_result(prompt: Prompt) -> bool:
    """Whether a tool said something after the last user message."""
    for message in reversed(prompt.messages):
        if message.get("role") in {"user", "tool"}:
            return bool(message["role"] == "tool")
    return False


def _names(question: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", question, re.IGNORECASE) is not None


def _call(function: dict[str, Any], prompt: Prompt) -> ToolCall:
    try:
        arguments = instance_of(function.get("parameters", {"type": "object"}), whole_text(prompt))
    except Unsupported as error:
        raise RequestRefused(
            f"The scripted model cannot make arguments for the tool '{function['name']}': {error}. "
            "Script the call (--script) or use --model embedded."
        ) from error
    return ToolCall(function["name"], json.dumps(arguments, ensure_ascii=False))
