"""Tell what a code of `lmroute validate` means: why it matters, and a bad and a good example with what is printed.

Or what a word of errorCode means, as `lmroute health`, `usage` and `logs` have it. Without a code: the table of all
codes of `lmroute validate`.

    lmroute explain LMR102
    lmroute explain connection_refused
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lmroute.cli.codes import code_of
from lmroute.cli.output import colored, emit
from lmroute.diagnostics import Severity
from lmroute.validate.reporters.color import BOLD, CYAN, STYLE_OF, painter
from lmroute.validate.rule import Rule
from lmroute.validate.table import RULES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lmroute.cli.error_codes import Meaning
    from lmroute.validate.explain import Example

_WIDTH = 88
_KINDS = ("bad", "good")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "codes", nargs="*", metavar="CODE", help="LMR102; lmr102 and 102 will do. Or connection_refused"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Explain, or list."""
    found = [each for word in arguments.codes for each in _meant(word)]
    if arguments.json:
        told = [_document(each) for each in found] if found else [_row(rule) for rule in RULES.values()]
        emit(json.dumps(told, indent=2) + "\n")
    else:
        emit("\n".join(line for each in found for line in _explained(each)) + "\n" if found else _table())
    return 0


def _meant(word: str) -> list[Rule] | list[Meaning]:
    if "_" in word or word.isalpha():  # no code of ours is
        from lmroute.cli.error_codes import meanings  # noqa: PLC0415  health is not needed for the others

        if found := [*meanings(word)]:
            return found
    return [RULES[code_of(word)]]


def _table() -> str:
    paint = painter(colored())
    rows = [
        f"{rule.code}  {paint(f'{_severity(rule):<16}', STYLE_OF[rule.severity])} {rule.summary}"
        for rule in RULES.values()
    ]
    return "\n".join([*rows, "", "'lmroute explain CODE' tells more, with examples.", ""])


def _explained(rule: Rule | Meaning) -> Iterator[str]:
    paint = painter(colored())
    if not isinstance(rule, Rule):
        yield f"{paint(rule.code, BOLD)} (of {rule.of}): {rule.summary}"
        yield from ([f"  help: {rule.fix}"] if rule.fix else [])
        return
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


def _document(rule: Rule | Meaning) -> dict[str, Any]:
    if not isinstance(rule, Rule):
        return asdict(rule)
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
