"""What came of running tests as JUnit XML: a suite for each file, and one for files that cannot be run."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from lmroute.validate.policy_tests.text import failure
from lmroute.validate.reporters.presentable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.diagnostics import Diagnostic
    from lmroute.validate.policy_tests.running import Ran, Report, Result


def render(report: Report) -> str:
    """The report as one XML document."""
    tests, errors = sum(len(ran.results) for ran in report.ran), len(report.errors)
    counts = f'tests="{tests + errors}" failures="{report.failed}" errors="{errors}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="lmroute policy test" {counts}>',
        *(line for ran in report.ran for line in _suite(ran)),
        *(_refusals(report.errors) if report.errors else ()),
        "</testsuites>",
        "",
    ]
    # All ASCII, so that it is what it declares to be whatever the encoding of stdout.
    return "\n".join(lines).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _suite(ran: Ran) -> Iterator[str]:
    counts = f'tests="{len(ran.results)}" failures="{len(ran.failed)}" errors="0" skipped="0" time="0"'
    yield f"  <testsuite name={_attribute(ran.suite.file)} {counts}>"
    for result in ran.results:
        yield from _case(result, ran.suite.policy.name)
    yield "  </testsuite>"


def _case(result: Result, policy: str) -> Iterator[str]:
    case = f'<testcase classname={_attribute(f"lmroute.{policy}")} name={_attribute(result.case.name)} time="0"'
    if not result.misses:
        yield f"    {case}/>"
        return
    message = "; ".join(f"{miss.key}: expected {miss.expected}, got {miss.got}" for miss in result.misses)
    body = "\n".join(map(printable, failure(result)))
    yield f"    {case}>"
    yield f'      <failure type="expectation" message={_attribute(message)}>{escape(body)}</failure>'
    yield "    </testcase>"


def _refusals(errors: tuple[Diagnostic, ...]) -> Iterator[str]:
    counts = f'tests="{len(errors)}" failures="0" errors="{len(errors)}" skipped="0" time="0"'
    yield f'  <testsuite name="lmroute policy test: files" {counts}>'
    for error in errors:
        place = _attribute(error.location.file)
        yield f'    <testcase classname={place} name={_attribute(f"{error.code} {error.key}".strip())} time="0">'
        body = escape("\n".join(map(printable, str(error).splitlines())))
        yield f"      <error type={_attribute(error.code)} message={_attribute(error.message)}>{body}</error>"
        yield "    </testcase>"
    yield "  </testsuite>"


def _attribute(text: str) -> str:
    return quoteattr(printable(text))
