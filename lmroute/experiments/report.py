"""What a person sees of a run: one line before, a progress bar during, a table and a summary after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from rich.progress import TaskID

    from lmroute.experiments.outcomes import Outcome
    from lmroute.providers.embedded import Fetch

SHOWN_ROWS = 20
_CELL = 48
_PLAIN_WIDTH = 140  # of a table in a file or a pipe, where no terminal says how wide it is


def results_console() -> Console:
    """Where results go: standard output."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def progress_console() -> Console:
    """Where progress and complaints go: standard error."""
    return Console(stderr=True, highlight=False)


def show_choice(console: Console, identity: dict[str, Any], *, rows: int) -> None:
    """What was composed, in a line."""
    data = f"{rows} row{'s' * (rows != 1)} of {identity['data']}" if identity["data"] else "one question"
    providers = ", ".join(identity["providers"])
    choice = f"policy {identity['stack']} | providers {providers} | adapter {identity['adapter']}"
    _say(console, f"{identity['task']}: {data} | {choice}")


class Watch:
    """A progress bar of the rows and, when it comes to that, one of the fetch of the embedded model's weights."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        # Where no bar can be drawn, rich would leave an empty line.
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_interactive)
        self._rows = self._bar.add_task("asking", total=total, note="")
        self._fetch: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def answered(self, outcome: Outcome) -> None:
        """Another row is through."""
        self._bar.update(self._rows, advance=1, note=_who(outcome))

    def fetching(self, fetch: Fetch) -> None:
        """So much of the weights is here. May be called from any thread."""
        if self._fetch is None:
            megabytes = f"{fetch.total / 1e6:.0f} MB, once"
            self._fetch = self._bar.add_task("fetching the embedded model", total=fetch.total, note=megabytes)
            if not self._console.is_terminal:  # where no bar can be drawn, a line says why it takes so long
                _say(self._console, f"fetching the embedded model ({megabytes}) ...")
        self._bar.update(self._fetch, completed=fetch.done, note="another process fetches it" if fetch.waiting else "")


def show_rows(console: Console, outcomes: Sequence[Outcome]) -> None:
    """The first rows as a table: what went in, what came out, from whom, by which rule, in how many milliseconds."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "input", "output", "provider", "model", "rule"):
        # Where the terminal is narrow, only what went in and came out gives way.
        table.add_column(heading, no_wrap=heading not in {"input", "output"})
    table.add_column("ms", justify="right", no_wrap=True)
    for outcome in outcomes[:SHOWN_ROWS]:
        table.add_row(*_cells(outcome))
    console.print(table)
    if len(outcomes) > SHOWN_ROWS:
        _say(console, f"... and {len(outcomes) - SHOWN_ROWS} more rows in results.jsonl")


def _cells(outcome: Outcome) -> list[str | Text]:
    served = outcome.served_by
    output = ", ".join(str(value) for value in outcome.answer.values()) or outcome.error
    return [
        _mark(outcome),
        _cell(" / ".join(outcome.row.inputs.values())),
        _cell(output),
        _cell(served.get("provider") or "-"),
        _cell(served.get("model") or "-"),
        _cell(served.get("rule") or "-"),
        f"{outcome.duration_ms:.0f}",
    ]


def _mark(outcome: Outcome) -> Text:
    """A word, not only a colour: right, wrong, or none."""
    if not outcome.answer:
        return Text("none", style="red")
    if not outcome.row.expected:
        return Text("")
    return Text("right", style="green") if outcome.right else Text("wrong", style="yellow")


def show_answers(console: Console, outcomes: Sequence[Outcome]) -> None:
    """The answers in full, for a task without labels."""
    for outcome in outcomes:
        _say(console, "\n".join(str(value) for value in outcome.answer.values()) or outcome.error)


def show_summary(console: Console, summary: dict[str, Any], folder: Path) -> None:
    """Accuracy against its baseline, who answered, what failed on the way, how long it took, where it is written."""
    if summary["accuracy"] is not None:
        low, high = summary["interval"]
        _say(
            console,
            f"accuracy   {summary['accuracy']:.2f}  ({summary['right']} of {summary['rows']} right, "
            f"95% interval {low:.2f} to {high:.2f}; always answering "
            f"{_shortened(summary['baseline_answer'])!r} gets {summary['baseline']:.2f})",
        )
        if len(summary["fields"]) > 1:
            _say(console, "by field   " + ", ".join(f"{k} {v:.2f}" for k, v in summary["fields"].items()))
    answered = ", ".join(f"{who} {count}" for who, count in summary["by_provider"].items()) or "nobody"
    _say(console, f"answered   {answered}")
    for fallback in summary["fallbacks"]:
        _say(console, f"failed     {_failure(fallback)}")
    for label in ("unserved", "unusable"):
        if summary[label]:
            _say(console, f"{label:<10} {summary[label]} of {summary['rows']} rows")
    timing = f"{summary['duration_s']:.1f} s, half of the rows within {summary['p50_ms']:.0f} ms"
    _say(console, f"took       {timing}, 95% within {summary['p95_ms']:.0f} ms")
    _say(console, f"written    {folder}")


def _failure(fallback: dict[str, Any]) -> str:
    times = "once" if fallback["count"] == 1 else f"{fallback['count']} times"
    return f"{fallback['provider']} {times}: {fallback['errorCode']}: {fallback['message']}"


def _who(outcome: Outcome) -> str:
    return str(outcome.served_by.get("provider") or "nobody answered")


def _cell(text: str) -> Text:
    """Plain text without markup and control characters: it comes from models and files."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return Text(_shortened(plain), no_wrap=True, overflow="ellipsis")


def _shortened(text: str) -> str:
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def _say(console: Console, line: str) -> None:
    console.print(Text("".join(c if c.isprintable() or c == "\n" else " " for c in line)), soft_wrap=True)
