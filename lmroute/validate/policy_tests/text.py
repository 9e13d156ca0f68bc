"""What came of running tests, for people: each test that failed, a table of coverage, what is still to be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.diagnostics import Severity
from lmroute.routing.coverage import Kind
from lmroute.validate.reporters.color import BOLD, STYLE_OF, painter
from lmroute.validate.reporters.presentable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmroute.model import Decision
    from lmroute.routing.coverage import Coverage, Goal
    from lmroute.routing.simulate import Simulation
    from lmroute.validate.policy_tests.running import Report, Result

_COLUMNS = {Kind.RULE: "rules", Kind.PREDICATE: "predicates", Kind.FALLBACK: "fallbacks", Kind.GUARANTEE: "guarantees"}


def render(report: Report, *, color: bool) -> str:
    """The report as text; what is wrong with files is not in it."""
    paint = painter(color)
    failed = paint("FAIL", STYLE_OF[Severity.ERROR])
    lines = [line for ran in report.ran for result in ran.failed for line in failure(result, failed)]
    if report.covered:
        lines += [_summary(report), "", *_table(report)]
    lines += _missing(report, paint("not covered:", BOLD))
    if report.untested:
        lines.append(f"without tests: {', '.join(report.untested)}")
    return "".join(f"{line}\n" for line in lines)


def failure(result: Result, lead: str = "") -> Iterator[str]:
    """A test that failed: what was expected, and what came of the call."""
    yield f"{lead} {result.case.place}: {printable(result.case.name)}".lstrip()
    for miss in result.misses:
        line = result.case.places[miss.key].line
        yield printable(f"  expected {miss.key}: {miss.expected} (line {line}); got: {miss.got}")
    yield f"  rule: {result.call.decision.rule or 'none'}{f' ({result.decided})' if result.decided else ''}"
    if result.call.decision.refused:
        yield f"  refused: {result.call.decision.refused}"
    else:
        yield f"  asked: {' -> '.join(_attempts(result.call)) or 'nobody'}"
    yield from _against(result.call.decision)


def described(goal: Goal) -> str:
    """A goal that was not reached, in words."""
    owner = f"{'guarantee' if goal.of_guarantee else 'rule'} '{goal.owner}'"
    match goal.kind:
        case Kind.RULE:
            return f"{owner} never decided"
        case Kind.PREDICATE:
            return f"{owner}: never seen that {goal.what}"
        case Kind.FALLBACK:
            return f"{owner}: never fell back {goal.what}"
        case Kind.GUARANTEE:
            return f"{owner} was never at stake"


def _attempts(call: Simulation) -> list[str]:
    failed = [f"{candidate} ({how})" for candidate, how in call.failed]
    return [*failed, f"{call.answered} (answered)"] if call.answered else failed


def _against(decision: Decision) -> Iterator[str]:
    """What spoke against candidates."""
    for considered in decision.considered:
        if considered.dropped:
            yield f"  passed over: {considered.candidate}: {considered.dropped}"
        elif considered.despite:
            yield f"  kept for want of others: {considered.candidate}: {considered.despite}"


def _summary(report: Report) -> str:
    tests = sum(len(ran.results) for ran in report.ran)
    where = f"{_counted(tests, 'test')} in {_counted(len(report.ran), 'file')}"
    return f"{report.failed} of {where} failed" if report.failed else f"{where} passed"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _table(report: Report) -> Iterator[str]:
    rows = [("policy", "tests", *_COLUMNS.values(), "covered")]
    for name, covered in report.covered.items():
        kinds = (_share(covered.coverage, kind) for kind in _COLUMNS)
        rows.append((name, str(covered.tests), *kinds, f"{int(covered.coverage.percent)} %"))  # never 100 too early
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield from (_row(row, widths) for row in rows)


def _share(coverage: Coverage, kind: Kind) -> str:
    reached, wanted = coverage.of(kind)
    return f"{reached}/{wanted}" if wanted else "-"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])


def _missing(report: Report, heading: str) -> list[str]:
    found = [
        f"  {covered.places[goal]}: {described(goal)}"
        for covered in report.covered.values()
        for goal in covered.coverage.missing
    ]
    return ["", heading, *found] if found else []
