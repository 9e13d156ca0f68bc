"""A call as a line, and its attempts as lines below it. What others wrote is made harmless before it is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lmroute import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.telemetry.usage.latest import Line, Records, Step

_ID = 8
_NAME = 40
_LEAST_USD = 1e-6
_WHOLE_MS = 10  # from here on nobody wants decimals


def call(line: Line) -> str:
    """When and how it ended, who answered or was asked last, by which rule, how long, for what; and the way there."""
    words = line.words
    who = "/".join(word(words[name]) for name in ("provider", "model") if words[name]) or _nobody(line)
    shown = [
        f"{moment(line.at)}  {word(line.call)[:_ID]:<{_ID}}  {words['status']:<9}",
        f"{who:<32}  {word(words['rule']):<14}",
        f"{ms(line.duration):>9}  {_tokens(line):>12}  {_cost(line):>9}",
        word(words["errorCode"], none=""),
        " -> ".join(map(_step, line.steps)) if len(line.steps) > 1 else "",
    ]
    return "  ".join(filter(None, shown)).rstrip()


def attempts(line: Line, found: Records) -> Iterator[str]:
    """Each attempt, with what its server said if it failed."""
    messages = {record.get("attempt"): record.get("message") for record in found.attempts}
    for number, step in enumerate(line.steps, 1):
        ended = word(step.error_code) if step.error_code else step.status
        message = messages.get(number)
        said = f"  {redact.one_line(message)}" if isinstance(message, str) and message else ""
        yield f"    {number}  {word(step.asked):<32}  {ended:<18}  {ms(step.duration):>9}{said}"


def moment(at: int) -> str:
    """A time in milliseconds since the epoch."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def ms(duration: float | None) -> str:
    """A duration in milliseconds."""
    if duration is None:
        return "-"
    return f"{duration:,.0f} ms" if duration >= _WHOLE_MS else f"{duration:.1f} ms"


def word(name: str | None, none: str = "-") -> str:
    """A name, on one line and not too long."""
    return redact.one_line(name, _NAME) if name else none


def _nobody(line: Line) -> str:
    """Nobody answered: who was asked last."""
    return f"nobody; asked {word(line.steps[-1].asked)}" if line.steps else "nobody"


def _step(step: Step) -> str:
    return f"{word(step.asked)} ({word(step.error_code)})" if step.error_code else word(step.asked)


def _tokens(line: Line) -> str:
    told = (line.input_tokens, line.output_tokens)
    return "-" if told == (None, None) else "+".join("?" if count is None else str(count) for count in told)


def _cost(line: Line) -> str:
    if line.cost_usd is None:
        return "-"
    if 0 < line.cost_usd < _LEAST_USD:
        return f"<${_LEAST_USD:.6f}"
    return f"${line.cost_usd:.6f}" if line.cost_usd else "$0"
