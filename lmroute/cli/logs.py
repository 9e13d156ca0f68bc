"""Show the latest calls, one a line, in the order in which they ended; or follow them; or show one in full.

Of all programs that ran with telemetry=local, or of those in the folders and files that are named. Times are in UTC.
Prompts and answers are only there where the configuration says capture_content: true.

    lmroute logs -f
    lmroute logs -n 50 --status error --since 24h
    lmroute logs --provider lmstudio --attempts
    lmroute logs --call 3f9a
    lmroute logs outputs --json | jq .duration

Exit codes: 0 done, 2 wrong usage or records that cannot be read, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.cli import records
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lmroute.telemetry.index import Index, Ingested
    from lmroute.telemetry.usage.latest import Line

FORMAT_VERSION = "1.0"
_POLL_S = 0.5
_COUNT = 20


_BUSY = "another process keeps the usage index to itself; calls that end now are shown when it lets go of it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    records.add_arguments(parser)
    add("-n", dest="count", type=_count, metavar="N", help="so many of the latest calls (20)")
    add("-f", "--follow", action="store_true", help="go on with those that end from now on, until Ctrl-C")
    add("--call", type=_id, metavar="ID", help="one call in full; ID may be its beginning")
    add("--attempts", action="store_true", help="the attempts of each call too")
    add("--json", action="store_true", help="the records themselves, one a line; with --call one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Show, and follow."""
    with told_as("json" if arguments.json else "text"), records.filled(arguments.paths) as (index, told):
        if arguments.call:
            emit(redact.text(_one(index, arguments)))
            return 0
        return _several(index, told, arguments)


def _one(index: Index, arguments: argparse.Namespace) -> str:
    from lmroute.cli.records.call import told  # noqa: PLC0415  --help needs no SQLite
    from lmroute.telemetry.usage.latest import one, records_of  # noqa: PLC0415

    line = records.asked(index, arguments.paths, lambda: one(index, arguments.call))
    found = records_of(index, line.call)
    if arguments.json:
        document = {"format_version": FORMAT_VERSION, "call": found.call, "attempts": found.attempts}
        return json.dumps(document, indent=2) + "\n"
    return "\n".join(told(line, found)) + "\n"


def _several(index: Index, told: Ingested, arguments: argparse.Namespace) -> int:
    from lmroute.telemetry.usage.latest import latest, newest  # noqa: PLC0415

    asked = {"since": arguments.since, "until": arguments.until, "where": records.where(arguments)}

    def look(count: int | None = None, *, after: int = 0) -> tuple[int, list[Line]]:
        with index.moment():
            return newest(index), latest(index, count, **asked, after=after)

    seen, lines = records.asked(index, arguments.paths, lambda: look(arguments.count or _COUNT))
    if not lines and not arguments.follow and not arguments.json:
        emit(_nothing(told, arguments))
    try:
        _show(index, lines, arguments)
        while arguments.follow:
            time.sleep(_POLL_S)
            is_busy, told = told.is_busy, index.ingest(arguments.paths or None, keep_days=None, wait_s=records.WAIT_S)
            if told.is_busy and not is_busy:
                print(_BUSY, file=sys.stderr)
            seen, lines = look(after=seen)
            _show(index, lines, arguments)
    except BrokenPipeError:
        # Nobody reads it any more. Python would complain about what is left to write when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _show(index: Index, lines: Sequence[Line], arguments: argparse.Namespace) -> None:
    """Write, at once. Raises BrokenPipeError when nobody reads it."""
    told = _as_json(index, lines, arguments) if arguments.json else _as_text(index, lines, arguments)
    if lines:
        say(redact.text("".join(f"{line}\n" for line in told)))


def _as_text(index: Index, lines: Sequence[Line], arguments: argparse.Namespace) -> Iterable[str]:
    from lmroute.cli.records import lines as shown  # noqa: PLC0415
    from lmroute.telemetry.usage.latest import records_of  # noqa: PLC0415

    for line in lines:
        yield shown.call(line)
        if arguments.attempts:
            yield from shown.attempts(line, records_of(index, line.call))


def _as_json(index: Index, lines: Sequence[Line], arguments: argparse.Namespace) -> Iterable[str]:
    from lmroute.telemetry.usage.latest import records_of  # noqa: PLC0415

    for line in lines:
        found = records_of(index, line.call)
        chosen = [*(found.attempts if arguments.attempts else ()), found.call]
        yield from (json.dumps(record) for record in chosen if record is not None)


def _nothing(told: Ingested, arguments: argparse.Namespace) -> str:
    if told.is_busy:
        return f"{records.BUSY}\n"
    if arguments.paths:
        return f"there are no such calls in {', '.join(map(str, arguments.paths))}\n"
    if arguments.since or arguments.until or records.where(arguments):
        return "no such calls are recorded; 'lmroute logs' without options shows the latest of all\n"
    return "\n".join(records.NONE_YET) + "\nand 'lmroute logs -f' waits for them\n"


def _id(word: str) -> str:
    if not word.strip():
        raise argparse.ArgumentTypeError(f"{word!r} is no id of a call; 'lmroute logs' shows those of the latest ones")
    return word.lower() if re.fullmatch("[0-9A-Fa-f]+", word) else word  # ours are in small letters


def _count(word: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,8}", word):
        raise argparse.ArgumentTypeError(f"{word!r} is no number of calls, such as 20")
    return int(word)
