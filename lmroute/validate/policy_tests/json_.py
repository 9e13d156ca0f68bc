"""What came of running tests, for programs. All ASCII, whatever the encoding of stdout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lmroute.config.secrecy import masked
from lmroute.routing.coverage import Kind
from lmroute.validate.policy_tests.expecting import reason
from lmroute.validate.policy_tests.text import described
from lmroute.validate.reporters.json_ import located

if TYPE_CHECKING:
    from lmroute.diagnostics import Diagnostic
    from lmroute.validate.policy_tests.running import Covered, Ran, Report, Result

FORMAT_VERSION = "1.0"
"""The second number grows when a key is added, the first one when a key goes or means something else."""


def render(report: Report) -> str:
    """The report as one JSON document."""
    return json.dumps(document(report), indent=2) + "\n"


def document(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "format_version": FORMAT_VERSION,
        "passed": not (report.failed or report.errors),
        "test_count": sum(len(ran.results) for ran in report.ran),
        "failure_count": report.failed,
        "files": [_file(ran) for ran in report.ran],
        "coverage": [_coverage(name, covered) for name, covered in report.covered.items()],
        "untested": list(report.untested),
        "errors": [_error(error) for error in report.errors],
    }


def _file(ran: Ran) -> dict[str, Any]:
    suite = ran.suite
    return {
        "file": suite.file,
        "policy": suite.policy.name,
        "overrides": list(map(masked, suite.overrides)),
        "tests": [_test(result) for result in ran.results],
    }


def _test(result: Result) -> dict[str, Any]:
    case, call = result.case, result.call
    attempts = [{"candidate": str(candidate), "failure": failure.value} for candidate, failure in call.failed]
    last = [{"candidate": str(call.answered), "failure": None}] if call.answered else []
    return {
        "name": case.name,
        "location": located(case.place),
        "passed": not result.misses,
        "rule": call.decision.rule or None,
        "asked": [*attempts, *last],
        "dropped": [
            {"candidate": str(considered.candidate), "reason": considered.dropped}
            for considered in call.decision.considered
            if considered.dropped
        ],
        "refused": reason(call.decision) or None,
        "misses": [
            {"key": miss.key, "expected": miss.expected, "got": miss.got, "location": located(case.places[miss.key])}
            for miss in result.misses
        ],
    }


def _coverage(policy: str, covered: Covered) -> dict[str, Any]:
    counts = {kind: covered.coverage.of(kind) for kind in Kind}
    return {
        "policy": policy,
        "tests": covered.tests,
        "percent": round(covered.coverage.percent, 2),
        **{f"{kind}s": {"covered": reached, "total": wanted} for kind, (reached, wanted) in counts.items()},
        "missing": [
            {"kind": goal.kind.value, "message": described(goal), "location": located(covered.places[goal])}
            for goal in covered.coverage.missing
        ],
    }


def _error(error: Diagnostic) -> dict[str, Any]:
    return {
        "code": error.code,
        "message": error.message,
        "key": error.key or None,
        "location": located(error.location),
        "help": error.help or None,
    }
