"""Tell what a code of `lmroute validate` means: why it matters, and a bad and a good example with what is printed.

Without a code: the table of all codes.
"""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from lmroute.cli.codes import code_of
from lmroute.cli.output import colored, emit
from lmroute.diagnostics import Severity
from lmroute.validate.reporters.color import BOLD, CYAN, STYLE_OF, painter
from lmroute.validate.table import RULES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lmroute.validate.explain import Example
    from lmroute.validate.rule import Rule

_WIDTH = 88
_KINDS = ("bad", "good")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("codes", nargs="*", metavar="CODE", help="LMR102; lmr102 and 102 will do")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Explain, or list."""
    rules = [RULES[code_of(word)] for word in arguments.codes]
    if arguments.json:
        told = [_document(rule) for rule in rules] if rules else [_row(rule) for rule in RULES.values()]
        emit(json.dumps(told, indent=2) + "\n")
    else:
        emit("\n".join(line for rule in rules for line in _explained(rule)) + "\n" if rules else _table())
    return 0


def _table() -> str:
    paint = painter(colored())
    rows = [
        f"{rule.code}  {paint(f'{_severity(rule):<16}', STYLE_OF[rule.severity])} {rule.summary}"
        for rule in RULES.values()
    ]
    return "\n".join([*rows, "", "'lmroute explain CODE' tells more, with examples.", ""])


def _explained(rule: Rule) -> Iterator[str]:
    paint = painter(colored())
    yield f"{paint(rule.code, STYLE_OF[rule.severity])}: {paint(rule.summary, BOLD)} ({_severity(rule)})"
    yield ""
    yield textwrap.fill(rule.why, _WIDTH, break_long_words=False, break_on_hyphens=False)
    shown = _examples(rule)
    for kind, example in shown.items():
        yield from ("", paint(f"{kind.capitalize()}:", CYAN))
        for name, text in example.files.items():
            yield from (f"  {name}", textwrap.indent(text.rstrip("\n"), "    "))
        yield from (f"  $ {example.command}", textwrap.indent(_printed(example).rstrip("\n"), "  "))
    if not shown:
        yield from ("", "A running server shows it, so there is no example here. To ask yours: lmroute validate --live")
    yield ""


def _document(rule: Rule) -> dict[str, Any]:
    shown = {
        kind: {"files": example.files, "command": example.command, "prints": _printed(example)}
        for kind, example in _examples(rule).items()
    }
    return {**_row(rule), "why": rule.why, **{kind: shown.get(kind) for kind in _KINDS}}


def _row(rule: Rule) -> dict[str, Any]:
    return {"code": rule.code, "severity": _severity(rule), "summary": rule.summary}


def _severity(rule: Rule) -> str:
    """Of what a server says, it depends on whether some other server still answers."""
    varies = rule.of_server and rule.severity is Severity.ERROR
    return "error or warning" if varies else rule.severity.value


def _examples(rule: Rule) -> dict[str, Example]:
    # Imported late: a table needs no Hydra.
    from lmroute.validate.explain import example  # noqa: PLC0415

    return {kind: found for kind in _KINDS if (found := example(rule.code, kind))}


def _printed(example: Example) -> str:
    from lmroute.validate.reporters import render  # noqa: PLC0415  see _examples

    return render("text", example.check())
