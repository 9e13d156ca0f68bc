"""One call in full: how it ended, who was asked, who could have been, what was asked for and what was known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.cli.output import table
from lmroute.cli.records import lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lmroute.telemetry.usage.latest import Line, Records

_LONGEST = 400
_PLAIN = (
    "call", "run", "stack", "server", "first_token", "overhead_us", "waited", "refused", "input_tokens",
    "output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd", "cost_from", "finish_reason", "response_id",
)  # fmt: skip


def told(line: Line, found: Records) -> Iterator[str]:
    """All that is recorded of it."""
    yield lines.call(line)
    if line.steps:
        yield from ("", "attempts:", *lines.attempts(line, found))
    record = found.call
    if record is None:
        yield from ("", "The file with its record is gone or has changed since; this is what the index has of it.")
        return
    yield from _values("record", {name: record[name] for name in _PLAIN if record.get(name) is not None})
    yield from _considered(record.get("considered"))
    for name in ("request", "attributes", "facts"):
        value = record.get(name)
        yield from _values(name, value if isinstance(value, dict) else {})
    yield from _content(record.get("content"))


def _values(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    rows = [(lines.word(name), _shown(value)) for name, value in values.items() if value not in (None, [], {}, "")]
    if rows:
        yield from ("", f"{title}:")
        yield from table(rows, "    ")


def _considered(candidates: Any) -> Iterator[str]:
    known = [each for each in candidates if isinstance(each, dict)] if isinstance(candidates, list) else []
    if known:
        yield from ("", "candidates, in the order of the rule:")
        rows = [(_shown(each.get("candidate")), _why(each.get("dropped"))) for each in known]
        yield from table(rows, "    ")


def _why(dropped: Any) -> str:
    return f"dropped: {_shown(dropped)}" if dropped else "kept"


def _content(content: Any) -> Iterator[str]:
    """Prompt and answer as they were recorded, line by line."""
    if not isinstance(content, dict):
        return
    for name, messages in content.items():
        yield from ("", f"{lines.word(name)}:")
        for message in messages if isinstance(messages, list) else [messages]:
            yield from (f"    {line}" for line in _said(message))


def _said(message: Any) -> Iterator[str]:
    if not isinstance(message, dict) or not isinstance(message.get("parts"), list):
        yield from _lines(message)
        return
    yield f"[{_shown(message.get('role'))}]"
    for part in message["parts"]:
        said = part.get("content") if isinstance(part, dict) else part
        yield from _lines(said if isinstance(said, str) else part)


def _lines(said: Any) -> Iterator[str]:
    whole = said if isinstance(said, str) else json.dumps(said)
    for line in redact.text(whole).splitlines():
        yield "".join(c if c.isprintable() else " " for c in line)


def _shown(value: Any) -> str:
    return redact.one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), _LONGEST)
