"""Decide recorded calls again under another policy: how many go elsewhere, and what that would cost and take.

Calls are those of all programs that ran with telemetry=local, or those in the files and folders that are named. Nobody
is asked. What was known of the servers then is taken to be so, and an attempt that failed then to fail again.
Costs are by the prices of the profiles, for the tokens that were recorded; latencies are the medians of the recorded
attempts of each candidate. What is not known is left out of both and said.

    lmroute policy replay --policy cost_first --since 7d
    lmroute policy replay outputs --policy cost_first provider=[lmstudio,openai]
    lmroute policy replay calls.jsonl --policy policies/mine.yaml --fail-on-moves
    lmroute policy replay outputs --policy main:local_first --format json

Exit codes: 0 done, 1 a call moved (with --fail-on-moves) or the policy cannot be read, 2 wrong usage.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit, table
from lmroute.cli.records import NONE_YET, moment
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from lmroute.routing.replay import Again, Estimate, Flow, Recorded, Replay
    from lmroute.telemetry.reading import Reading

FORMAT_VERSION = "1.0"
_SHOWN = 10
"""Moved calls, and rows of a table, that the text has; the JSON has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("records", nargs="*", metavar="RECORDS|OVERRIDE",
        help="files or folders of call records instead of what all programs recorded; "
        "overrides as for run.py: provider=[lmstudio,openai]")  # fmt: skip
    add("--policy", metavar="POLICY", required=True,
        help="an option (local_first), a file (mine.yaml), or either in a git revision (main:local_first)")  # fmt: skip
    add("--since", type=moment, metavar="WHEN", help="only calls that ended since: 24h, 7d, today, 2026-11-01; in UTC")
    add("--ignore-facts", action="store_true", help="take every server to have been up and every budget to be unspent")
    add("--fail-on-moves", action="store_true", help="exit with 1 if any call moved")
    add("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Replay, and tell."""
    with told_as(arguments.format):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help needs no Hydra.
    from lmroute.cli.policy.choice import policy_of, reservations  # noqa: PLC0415
    from lmroute.config.secrecy import masked  # noqa: PLC0415
    from lmroute.routing.policy import compile_policy  # noqa: PLC0415
    from lmroute.routing.replay import replay  # noqa: PLC0415
    from lmroute.telemetry.reading import read  # noqa: PLC0415

    paths, overrides = _sorted_out(arguments.records)
    files = _files(paths)
    reading = read(files)
    calls, misshapen = _decoded(reading, arguments.since)
    checked = policy_of(arguments.policy, overrides)
    stack = checked.stack
    policy = compile_policy(stack.policy, stack.providers, stack.seed)
    replayed = replay(calls, policy, with_facts=not arguments.ignore_facts)
    if arguments.format == "json":
        left_out = {"torn": reading.torn, "misshapen": misshapen, "other_versions": reading.foreign}
        document: dict[str, Any] = {"format_version": FORMAT_VERSION, "overrides": list(map(masked, overrides))}
        document |= {"files": list(map(str, files)), "left_out": left_out, **replayed.as_data()}
        text = json.dumps(document, indent=2, ensure_ascii=False)
    else:
        text = "\n".join([*_lines(replayed), *_left_out(reading, misshapen)])
    emit(redact.text(text) + "\n")
    print(redact.text(reservations(checked)), end="", file=sys.stderr)
    return 1 if arguments.fail_on_moves and replayed.moved else 0


def _sorted_out(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The paths and the overrides among some words."""
    overrides = [word for word in words if not Path(word).exists() and ("=" in word or word.startswith(("+", "~")))]
    return [Path(word) for word in words if word not in overrides], overrides


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files of records that some paths name; without one, those of all programs."""
    from lmroute.telemetry.files import files_in, newest_first  # noqa: PLC0415
    from lmroute.telemetry.sinks.daily import events_folder  # noqa: PLC0415  see _run

    files = files_in(*paths) if paths else newest_first([events_folder()])
    if not files:
        raise LmrouteError("\n".join(NONE_YET))
    return files


def _decoded(reading: Reading, since: datetime | None) -> tuple[list[Recorded], int]:
    """The calls that can be replayed, and how many cannot."""
    from lmroute.telemetry.recorded import recorded  # noqa: PLC0415  see _run

    asked = [call for call in reading.calls if since is None or (call.ended is not None and call.ended >= since)]
    decoded = [recorded(call) for call in asked]
    known = [call for call in decoded if call is not None]
    return known, len(decoded) - len(known)


def _lines(replayed: Replay) -> Iterator[str]:
    calls, moved, unanswered = len(replayed.calls), len(replayed.moved), len(replayed.unanswered)
    yield f"{_calls(calls)} under policy '{replayed.policy}': {moved} moved, {unanswered} without an answer"
    if not calls:
        return
    yield from _flows("who answers", replayed.by_candidate, "nobody")
    yield from _flows("which rule decides", replayed.by_rule, "none")
    yield ""
    yield from table([_cost(replayed.usd), _latency(replayed.latency_ms)])
    for name, estimate in (("cost", replayed.usd), ("latency", replayed.latency_ms)):
        yield from (f"  {name} unknown for {_calls(count)}: {why}" for why, count in estimate.unknown.items())
    if moved:
        yield from ("", f"moved calls{f', the first {_SHOWN} of {moved}' if moved > _SHOWN else ''}:")
        yield from table([_move(again) for again in replayed.moved[:_SHOWN]], "  ")


def _flows(title: str, flows: Sequence[Flow], nowhere: str) -> Iterator[str]:
    yield from ("", f"{title}, before and after:")
    rows = [
        (str(calls), before or nowhere, "stays" if before == after else f"-> {after or nowhere}")
        for before, after, calls in flows[:_SHOWN]
    ]
    yield from table(rows, "  ")
    if len(flows) > _SHOWN:
        yield f"  … and {len(flows) - _SHOWN} more; --format json has all"


def _cost(usd: Estimate) -> tuple[str, ...]:
    ends = f"${usd.before:.6f} -> ${usd.after:.6f}" if usd.calls else "not known for any call"
    return ("estimated cost", ends, _basis(usd))


def _latency(latency_ms: Estimate) -> tuple[str, ...]:
    calls = latency_ms.calls
    ends = f"{latency_ms.before / calls:.0f} ms -> {latency_ms.after / calls:.0f} ms a call" if calls else ""
    return ("estimated latency", ends or "not known for any call", _basis(latency_ms))


def _basis(estimate: Estimate) -> str:
    return f"over {_calls(estimate.calls)}" if estimate.calls else ""


def _move(again: Again) -> tuple[str, ...]:
    before, after = again.call.answered or "nobody", again.answered or "nobody"
    rules = f"rule {again.call.rule or 'none'} -> {again.rule or 'none'}"
    return (again.call.id, f"{before} -> {after}", rules, again.why)


def _left_out(reading: Reading, misshapen: int) -> Iterator[str]:
    told = [reading.left_out, f"{_calls(misshapen)} of an unknown shape" if misshapen else ""]
    if any(told):
        yield from ("", f"left out: {', '.join(filter(None, told))}")


def _calls(count: int) -> str:
    return f"{count} call{'' if count == 1 else 's'}"
