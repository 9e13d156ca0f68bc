"""Find every mistake in the configuration before anything runs.

Without overrides: each file, each option of each group once, each experiment. With overrides: exactly that
composition, or with -m each job of that sweep. Nothing is sent anywhere, unless --live asks the servers.
Exit codes: 0 nothing found, 1 something found, 2 wrong usage or an internal error.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.cli.output import colored, emit
from lmroute.config.complaints import did_you_mean
from lmroute.diagnostics import Severity
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    import argparse

    from lmroute.diagnostics import Report

FORMATS = ("text", "full", "json", "github", "sarif", "junit")
_READ = frozenset({"text", "full"})
_LOGGED = _READ | {"github"}
"""The formats of which nothing is missed when nothing was found."""
_LAST_COMMIT = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("overrides", nargs="*", metavar="OVERRIDE", help="as for run.py: provider=[lmstudio,openai] routing=local_only")
    add("-m", "--multirun", action="store_true", help="check each job of the sweep that the overrides describe")
    add("--changed", nargs="?", const=_LAST_COMMIT, metavar="REF",
        help="check only what changed since a git commit (default: the last one), and what depends on it")  # fmt: skip
    add("--files-only", action="store_true", help="check the files by themselves and compose nothing; the fastest")
    add("--live", action="store_true", help="also ask the servers of the composition whether they can serve it")
    add("--format", choices=FORMATS, help="default: $LMROUTE_FORMAT, else github in GitHub Actions, else text")
    add("--output", type=Path, metavar="FILE", help="write the report to a file instead of stdout")
    add(
        "--fail-on",
        choices=[severity.value for severity in Severity],
        default=Severity.ERROR.value,
        help="what makes the exit code 1 (default: error)",
    )
    add("--exit-zero", action="store_true", help="exit with 0 whatever is found")
    add("--select", action="append", metavar="CODES", help="report only these codes: LMR102,LMR2")
    add("--ignore", action="append", metavar="CODES", help="do not report these codes")
    add("--quiet", action="store_true", help="print nothing when nothing is found, and no progress")


def run(arguments: argparse.Namespace) -> int:
    """Check, report, and say by the exit code whether it is good."""
    _settle(arguments)
    kind, chosen = _format(arguments.format), _chosen(arguments)
    # Imported late: --help and a wrong option need no schemas.
    from lmroute.validate import selection  # noqa: PLC0415
    from lmroute.validate.reporters import render  # noqa: PLC0415

    report = selection.run(
        selection.Request(
            overrides=tuple(arguments.overrides),
            multirun=arguments.multirun,
            changed=arguments.changed,
            files_only=arguments.files_only,
            progress=None if arguments.quiet or not sys.stderr.isatty() else _announce,
        )
    )
    report, verdicts = _asked(report, arguments) if arguments.live else (report, [])
    report = _narrowed(report, chosen)
    if report.diagnostics or not (arguments.quiet and kind in _LOGGED):
        _publish(render(kind, report, color=colored() and not arguments.output), report, arguments, kind)
    if not arguments.quiet:
        _tell("".join(f"{line}\n" for line in verdicts), beside=kind not in _READ or bool(arguments.output))
    return 0 if arguments.exit_zero else _exit_code(report, Severity(arguments.fail_on))


def _settle(arguments: argparse.Namespace) -> None:
    """Mend what argparse cannot know, and refuse what makes no sense together."""
    if arguments.changed and ("=" in arguments.changed or arguments.changed.startswith(("+", "~"))):
        arguments.overrides.insert(0, arguments.changed)  # `--changed provider=x`: that is no commit
        arguments.changed = _LAST_COMMIT
    if arguments.live and (arguments.files_only or arguments.multirun):
        other = "--files-only" if arguments.files_only else "-m"
        raise LmrouteError(f"--live asks the servers of one composition; leave out {other}")


def _format(asked: str | None) -> str:
    if asked:
        return asked
    if named := os.environ.get("LMROUTE_FORMAT"):
        if named not in FORMATS:
            advice = did_you_mean(named, FORMATS) or f"there are {', '.join(FORMATS)}"
            raise LmrouteError(f"LMROUTE_FORMAT={named}: there is no such format\n  help: {advice}")
        return named
    return "github" if os.environ.get("GITHUB_ACTIONS") == "true" else "text"


def _chosen(arguments: argparse.Namespace) -> frozenset[str]:
    from lmroute.cli.codes import starting_with  # noqa: PLC0415  see run
    from lmroute.validate.table import RULES  # noqa: PLC0415  see run

    selected = starting_with(arguments.select) if arguments.select else frozenset(RULES)
    return selected - starting_with(arguments.ignore or ())


def _announce(jobs: int) -> None:
    """Tell a person who waits how much there is to do."""
    print(f"checking {jobs} jobs ...", file=sys.stderr, flush=True)


def _narrowed(report: Report, chosen: frozenset[str]) -> Report:
    """The report with what is not wanted set aside."""
    wanted = tuple(found for found in report.diagnostics if found.code in chosen)
    hidden = tuple(found for found in report.diagnostics if found.code not in chosen)
    return replace(report, diagnostics=wanted, hidden=hidden)


def _asked(report: Report, arguments: argparse.Namespace) -> tuple[Report, list[str]]:
    from lmroute.cli.live import ask  # noqa: PLC0415  only --live needs an HTTP client

    return ask(report, arguments.overrides, quiet=arguments.quiet)


def _publish(text: str, report: Report, arguments: argparse.Namespace, kind: str) -> None:
    emit(text, arguments.output)
    if kind == "github":
        from lmroute.validate.reporters.github import append_summary  # noqa: PLC0415  see run

        append_summary(report)
    if arguments.output and not arguments.quiet:
        from lmroute.validate.reporters.words import summary  # noqa: PLC0415  see run

        print(f"{summary(report)}; the report is in {arguments.output}", file=sys.stderr)


def _tell(verdicts: str, *, beside: bool) -> None:
    """Print what the servers mean for each rule, on stderr when stdout holds a document or the report is elsewhere."""
    if beside:
        print(verdicts, end="", file=sys.stderr)
    else:
        emit(verdicts)


def _exit_code(report: Report, fail_on: Severity) -> int:
    failing = {Severity.ERROR, fail_on}
    return int(any(finding.severity in failing for finding in report.diagnostics))
