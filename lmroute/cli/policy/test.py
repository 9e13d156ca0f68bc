"""Run the tests that stand beside the policies, in conf/routing/tests: no server is asked, nothing is sent.

Without names, every file of tests there is. Prints each test that fails, and how much of each policy the tests show:
rules that decided, comparisons that were true and false, fallbacks that were taken, guarantees that were at stake.
Exit codes: 0 all passed, 1 a test failed or coverage is too low, 2 a file cannot be run, or wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import colored, emit

if TYPE_CHECKING:
    from lmroute.validate.policy_tests.running import Report

FORMATS = ("text", "json", "junit")
FAILED, UNUSABLE = 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("tests", nargs="*", metavar="NAME|FILE", help="a file of tests, its name, or a policy's: local_first")
    add("--format", choices=FORMATS, default="text", help="(default: text)")
    add("--min-coverage", type=_percent, default=0.0, metavar="PERCENT",
        help="also fail when less than this was shown of a policy; an untested one counts as 0")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Run them, report, and say by the exit code whether it is good."""
    # Imported late: --help needs neither Hydra nor schemas.
    from lmroute.validate.policy_tests.running import run as run_tests  # noqa: PLC0415

    with told_as(arguments.format):
        report = run_tests(arguments.tests)
    emit(redact.text(_rendered(report, arguments.format)))
    if arguments.format == "text":
        _tell("".join(f"{error}\n" for error in report.errors))
    short = report.below(arguments.min_coverage)
    if short:
        _tell(f"less than {arguments.min_coverage:g} % covered: {', '.join(short)}\n")
    if report.errors:
        return UNUSABLE
    return FAILED if report.failed or short else 0


def _percent(text: str) -> float:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:  # noqa: PLR2004  it is percent; a nan is not in between either
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 100")
    return percent


def _rendered(report: Report, kind: str) -> str:
    from lmroute.validate.policy_tests import json_, junit, text  # noqa: PLC0415  see run

    match kind:
        case "json":
            return json_.render(report)
        case "junit":
            return junit.render(report)
        case _:
            return text.render(report, color=colored())


def _tell(lines: str) -> None:
    print(redact.text(lines), end="", file=sys.stderr)
