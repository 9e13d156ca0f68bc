"""Script files: what the scripted model answers to what."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from pathlib import Path

_FIELDS = ("match", "regex", "reply", "reasoning", "tools")  # a tuple: a key may be unhashable
_CALL = "each of tools is a mapping such as {name: tool, arguments: {city: Oslo}}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a script.

    Attributes:
        pattern: searched for in the last user message.
        reply: the whole answer; ``None`` when the line only calls tools.
        reasoning: what a model that reasons thinks first.
        tools: names and arguments (JSON text) of the tools to call when the request brings any.
    """

    pattern: re.Pattern[str]
    reply: str | None
    reasoning: str | None = None
    tools: tuple[tuple[str, str], ...] = ()


class ScriptError(LmrouteError):
    """A script file that cannot be used. The message names file, line and fix."""


def read_script(path: Path) -> tuple[Line, ...]:
    """The lines of a script file: a YAML list of ``{match: text, reply: text}``.

    ``match`` is looked for as it stands, in any case of letters; ``regex``, in its place, is a Python regular
    expression. A ``reply`` that is a list or a mapping is sent as JSON. ``reasoning: text`` comes before it from a
    model that reasons. ``tools: [{name: text, arguments: {...}}]`` are called first when the request has tools; the
    reply, which such a line may lack, follows once their results are there.

    Raises:
        ScriptError: when the file cannot be read, is no YAML, or has another form.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ScriptError(f"{path}: the script cannot be read: {reason}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScriptError(f"{path}:{line}: the script is no YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ScriptError(f"{path}: the script is no YAML: {error}") from error
    if not isinstance(root, yaml.SequenceNode):
        raise _wrong(path, root, "a script is a list of '- {match: text, reply: text}'")
    return tuple(_line(path, node) for node in root.value)


def _line(path: Path, node: yaml.Node) -> Line:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(path, node, "each line of a script is a mapping such as {match: text, reply: text}")
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if key.value not in _FIELDS or key.value in fields:
            raise _wrong(
                path,
                key,
                f"field '{key.value}' is unknown or there twice; a line has match or regex, and reply, "
                "reasoning or tools",
            )
        fields[key.value] = value
    if ("match" in fields) == ("regex" in fields):
        raise _wrong(path, node, "a line needs either match (a text) or regex (a pattern)")
    if not fields.keys() & {"reply", "tools"}:
        raise _wrong(path, node, "a line needs a reply, or tools to call")
    name = "match" if "match" in fields else "regex"
    return Line(
        _pattern(path, name, fields[name]),
        _reply(path, fields["reply"]) if "reply" in fields else None,
        _text(path, "reasoning", fields["reasoning"]) if "reasoning" in fields else None,
        _tools(path, fields["tools"]) if "tools" in fields else (),
    )


def _pattern(path: Path, name: str, node: yaml.Node) -> re.Pattern[str]:
    text = _text(path, name, node)
    if name == "match":
        return re.compile(re.escape(text), re.IGNORECASE)
    try:
        return re.compile(text, re.DOTALL)
    except re.error as error:
        raise _wrong(path, node, f"regex is no regular expression: {error}") from error


def _reply(path: Path, node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)  # as it is written: "reply: yes" is the text "yes"
    return _json(path, "reply must be a text or JSON data", node)


def _text(path: Path, name: str, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        raise _wrong(path, node, f"{name} must be a text that is not empty")
    return str(node.value)


def _tools(path: Path, node: yaml.Node) -> tuple[tuple[str, str], ...]:
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise _wrong(path, node, f"tools must be a list; {_CALL}")
    return tuple(_call(path, call) for call in node.value)


def _call(path: Path, node: yaml.Node) -> tuple[str, str]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(path, node, _CALL)
    fields = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
    if "name" not in fields or not fields.keys() <= {"name", "arguments"}:
        raise _wrong(path, node, _CALL)
    arguments = fields.get("arguments")
    if arguments is not None and not isinstance(arguments, yaml.MappingNode):
        raise _wrong(path, arguments, "arguments must be a mapping from parameter to value")
    values = "{}" if arguments is None else _json(path, "arguments must be JSON data", arguments)
    return _text(path, "name", fields["name"]), values


def _json(path: Path, rule: str, node: yaml.Node) -> str:
    try:
        return json.dumps(yaml.SafeLoader("").construct_document(node), ensure_ascii=False)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise _wrong(path, node, f"{rule} ({error})") from error


def _wrong(path: Path, node: yaml.Node | None, message: str) -> ScriptError:
    line = node.start_mark.line + 1 if node else 1
    return ScriptError(f"{path}:{line}: {message}")
