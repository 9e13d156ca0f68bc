"""What LM Studio takes in its own words: tools, ``tool_choice``, reasoning, how long a model stays.

Verified against the refusals of LM Studio 0.3.15 to 0.4.25.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dspy import lm15

if TYPE_CHECKING:
    from dspy.lm15 import Config, Request

    from lmroute.model import Profile

_EFFORTS: dict[object, str | None] = {
    "off": "none",
    "disabled": "none",
    False: "none",
    "none": "none",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
    "on": None,
    "enabled": None,
    True: None,
}
"""``reasoning_effort`` for each word in use for it; ``None`` leaves it to the model. LM Studio refuses any other."""


def spelled(request: Request, profile: Profile, reasoning: frozenset[str] | None) -> tuple[Request, tuple[str, ...]]:
    """The request in words that LM Studio takes, and what it cannot be told.

    Args:
        reasoning: the settings that the server lists for the model; ``None`` when nobody knows.
    """
    reasons = profile.capabilities.reasoning if reasoning is None else bool(reasoning)
    notes: list[str] = []
    tools, config = _chosen(request, notes)
    extensions = dict(config.extensions or {})
    config = _with_effort(config, extensions, notes, reasons=reasons)
    if extensions.get("tool_choice") == "any":
        extensions["tool_choice"] = "required"  # the same in Anthropic's word
    if extensions.get("response_format") == {"type": "text"}:
        del extensions["response_format"]  # the default, which LM Studio before 0.3.18 refuses to be told
    if profile.load.ttl_s is not None:
        extensions.setdefault("ttl", profile.load.ttl_s)
    if extensions != (config.extensions or {}):
        config = replace(config, extensions=extensions or None)
    if config is request.config and tools == request.tools:
        return request, ()
    return replace(request, tools=tools, config=config), tuple(notes)


def _chosen(request: Request, notes: list[str]) -> tuple[tuple[Any, ...], Config]:
    """The tools, and which of them to call, in one of the three words that LM Studio knows."""
    tools = tuple(_complete(tool) for tool in request.tools)
    choice = request.config.tool_choice
    if choice is None:
        return tools, request.config
    if choice.parallel is False:
        notes.append("parallel_tool_calls not sent, LM Studio has no such setting")
    if choice.allowed:
        tools = tuple(tool for tool in tools if tool.name in choice.allowed)
        notes.append(f"tool_choice sent as {choice.mode!r} with only the tools it allows")
    if not choice.allowed and choice.parallel is None:
        return tools, request.config
    return tools, replace(request.config, tool_choice=lm15.ToolChoice(mode=choice.mode))


def _complete(tool: Any) -> Any:
    """A tool whose parameters are an object with properties, which LM Studio insists on even where there are none."""
    if not isinstance(tool, lm15.FunctionTool):
        return tool
    said = {name: value for name, value in tool.parameters.items() if value is not None}
    if "type" in said and "properties" in said:
        return tool
    return replace(tool, parameters={"type": "object", "properties": {}, **said})


def _with_effort(config: Config, extensions: dict[str, Any], notes: list[str], *, reasons: bool) -> Config:
    """Reasoning as ``reasoning_effort``: DSPy's preset of LM Studio has no field for it, so it is an extension."""
    asked = config.reasoning
    if asked is not None:
        extensions["reasoning_effort"] = asked.effort
        if asked.thinking_budget is not None:
            notes.append("thinking_budget not sent, LM Studio has only an effort")
        config = replace(config, reasoning=None)
    if "reasoning_effort" not in extensions:
        return config
    word = extensions.pop("reasoning_effort")
    effort = _EFFORTS.get(word, word) if isinstance(word, str | bool) else word
    if not reasons:
        if effort != "none":
            notes.append("reasoning_effort not sent, the model is not known to reason")
    elif effort is not None:
        extensions["reasoning_effort"] = effort
        if word == "max":
            notes.append("reasoning_effort 'max' sent as 'xhigh'")
    return config
