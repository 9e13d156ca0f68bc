"""Tell what calls cost: counts, latencies, tokens, money, errors and fallbacks.

Of the calls of all programs that ran with telemetry=local, or of those in the folders and files that are named. All
that is there counts unless --since or --until say otherwise. Times and days are in UTC, and whole minutes.

    lmroute usage --since 24h
    lmroute usage --by provider,model --since 7d
    lmroute usage outputs --by task --status error
    lmroute usage --since 2026-11-01 --csv > november.csv
    lmroute usage --since 7d --chart week.svg
    lmroute usage --prometheus > usage.prom

--prometheus prints the counters of today (since midnight UTC, when they begin again) in Prometheus' text format, e.g.
for node_exporter's textfile collector.

Exit codes: 0 done, 2 wrong usage or records that cannot be read.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.cli import records
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from lmroute.telemetry.index import Index, Ingested
    from lmroute.telemetry.usage.answers import Series, Usage


_BY = ("provider",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    records.add_arguments(parser)
    add("--by", type=_names, default=_BY, metavar="X[,Y]",
        help="provider (the default), model, type, locality, rule, task, status, errorCode, day, hour")  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document")
    form.add_argument("--csv", action="store_true", help="the rows as CSV, with a header")
    form.add_argument("--prometheus", action="store_true", help="today's counters, all of them, for Prometheus")
    add("--chart", type=_svg, metavar="FILE.svg", help="also draw calls, errors and latency over time")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and tell."""
    if arguments.prometheus:
        return _expose(arguments)
    with told_as("json" if arguments.json else "text"):
        with records.filled(arguments.paths) as (index, told):
            found, series = records.asked(index, arguments.paths, lambda: _ask(index, arguments))
        if arguments.chart:
            _draw(series, arguments)
        emit(redact.text(_shown(found, series, told, arguments)))
    return 0


def _expose(arguments: argparse.Namespace) -> int:
    """Tell Prometheus, which chooses and sums up by itself.

    Raises:
        LmrouteError: something else is asked for, too.
    """
    from lmroute.telemetry.prometheus import counted, exposition  # noqa: PLC0415  --help needs no SQLite

    chosen = records.where(arguments) or arguments.since or arguments.until or arguments.chart
    if chosen or arguments.by != _BY:
        raise LmrouteError("--prometheus tells all of today; filters, times, --by and --chart do not go with it")
    with records.filled(arguments.paths) as (index, _):
        counts = records.asked(index, arguments.paths, lambda: counted(index, time.time()))
    emit(redact.text(exposition(counts)))
    return 0


def _ask(index: Index, arguments: argparse.Namespace) -> tuple[Usage, Series]:
    from lmroute.telemetry.usage.queries import series, usage  # noqa: PLC0415  --help needs no SQLite

    # What is asked for until now is shown until now, also when the last call is some time ago.
    until = arguments.until or (datetime.now(UTC) if arguments.since else None)
    asked = (arguments.since, until)
    where = records.where(arguments)
    points = 60 if arguments.chart else 40
    return usage(index, *asked, by=arguments.by, where=where), series(index, *asked, where=where, points=points)


def _shown(found: Usage, series: Series, told: Ingested, arguments: argparse.Namespace) -> str:
    from lmroute.cli.records import data, tables  # noqa: PLC0415

    if arguments.json:
        return json.dumps(data.document(found, told), indent=2) + "\n"
    if arguments.csv:
        for line in tables.notes(found):  # a table has no place for them
            print(redact.text(line), file=sys.stderr)
        return data.csv_of(found, end=_LINE_END)
    return "\n".join(tables.lines(found, series, told, arguments)) + "\n"


_LINE_END = "\n" if os.linesep == "\r\n" else "\r\n"
"""RFC 4180 wants CR LF, which a stream of Windows makes of LF itself."""


def _draw(series: Series, arguments: argparse.Namespace) -> None:
    from lmroute.telemetry.usage.chart import svg  # noqa: PLC0415

    filters = ", ".join(f"{name} {' or '.join(words)}" for name, words in records.where(arguments).items())
    emit(redact.text(svg(series, f"Calls{f' ({filters})' if filters else ''}")), arguments.chart)


def _svg(words: str) -> Path:
    if Path(words).suffix.lower() != ".svg":
        raise argparse.ArgumentTypeError(f"a chart is an SVG file, so name one that ends in .svg: {words}.svg")
    return Path(words)


def _names(words: str) -> tuple[str, ...]:
    from lmroute.telemetry.usage.queries import BY  # noqa: PLC0415

    names = tuple(dict.fromkeys(filter(None, (word.strip() for word in words.split(",")))))
    for name in names:
        if name not in BY:
            raise argparse.ArgumentTypeError(f"calls cannot be told apart by {name!r}, but by {', '.join(BY)}")
    if not names:
        raise argparse.ArgumentTypeError(f"name what calls are told apart by: {', '.join(BY)}")
    return names
