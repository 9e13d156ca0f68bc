"""Tell which requests two policies route differently: all of them, each kind with the smallest request that shows it.

Rules may be written otherwise, split or reordered; what counts is whom a request asks, in which order, and after which
failures. Servers are taken to be up and budgets not to be used up. What only one of them accepts (tags, task names,
attributes and their values) and defaults that changed are told by word.

    lmroute policy diff local_first cost_first provider=[lmstudio,openai]
    lmroute policy diff main:local_first local_first
    lmroute policy diff old.yaml new.yaml provider=[lmstudio,openai] --format json

Exit codes: 0 no difference, 1 there is one, or a policy cannot be read, 2 wrong usage.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lmroute.routing.proofs.diff import Change, Difference, Side
    from lmroute.validate import Checked

FORMAT_VERSION = "1.0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    what = "an option (local_first), a file (mine.yaml), or either in a git revision (main:local_first)"
    add("before", metavar="A", help=what)
    add("after", metavar="B", help="the same")
    add("overrides", nargs="*", metavar="OVERRIDE", help="for both, as for run.py: provider=[lmstudio,openai]")
    add("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Compare, and tell."""
    with told_as(arguments.format):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help needs no Hydra.
    from lmroute.cli.policy.choice import policy_of  # noqa: PLC0415
    from lmroute.routing.proofs.diff import diff  # noqa: PLC0415

    before, after = (policy_of(word, arguments.overrides) for word in (arguments.before, arguments.after))
    try:
        found = diff(before.stack, after.stack)
    except ValueError as error:  # too complex, or not to be compared
        raise LmrouteError(str(error)) from None
    names = (arguments.before, arguments.after)
    if arguments.format == "json":
        text = json.dumps(_document(names, before, after, found), indent=2)
    else:
        text = "\n".join(_lines(names, before, after, found))
    emit(redact.text(text) + "\n")
    return int(bool(found.changes or found.terms))


def _lines(names: tuple[str, str], before: Checked, after: Checked, found: Difference) -> Iterator[str]:
    over, count = ", ".join(before.stack.providers), len(found.changes)
    both = f"{names[0]} and {names[1]}"
    if count:
        yield f"{both} differ for {count} set{'s' * (count > 1)} of requests over {over}"
        yield from _changes(names, before, after, found)
    else:
        which = " that means the same to both," if found.terms else ""
        yield f"{both} route every request alike{which} over {over}"
    if found.terms:
        yield from ("", "Requests that do not mean the same to both, and are not compared:")
        yield from (f"  {each.what}: {names[0]} {each.before}, {names[1]} {each.after}" for each in found.terms)


def _changes(names: tuple[str, str], before: Checked, after: Checked, found: Difference) -> Iterator[str]:
    width = max(map(len, names))
    for (one, two), changes in groupby(found.changes, key=lambda change: (change.before, change.after)):
        alike = list(changes)
        yield ""
        yield f"  {names[0]:<{width}}  {_side(one, before)}"
        yield f"  {names[1]:<{width}}  {_side(two, after)}"
        for change in alike:
            yield f"    {change.requests}"
        yield f"    e.g. {_smallest(alike).witness.text}"
    if not found.is_whole:
        yield ""
        yield "There are more such sets: of each two rules that differ, only some are told"


def _side(side: Side, checked: Checked) -> str:
    if not side.key:
        return f"{side.does} (no rule is for it)"
    place = checked.locate(("routing", *side.key))
    return f"{side.does} ({f'rule {side.rule!r}, ' if side.rule else ''}{place})"


def _smallest(changes: list[Change]) -> Change:
    """The change whose witness states the least."""
    return min(changes, key=lambda change: len(change.witness.stated))


def _document(names: tuple[str, str], before: Checked, after: Checked, found: Difference) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "before": names[0],
        "after": names[1],
        "providers": list(before.stack.providers),
        "is_whole": found.is_whole,
        "changes": [
            {
                "requests": change.requests,
                "before": _side_document(change.before, before),
                "after": _side_document(change.after, after),
                "witness": change.witness.stated,
                "assumes": change.witness.assumes or None,
            }
            for change in found.changes
        ],
        "words": [{"what": each.what, "before": each.before, "after": each.after} for each in found.terms],
    }


def _side_document(side: Side, checked: Checked) -> dict[str, Any]:
    from lmroute.validate.reporters.json_ import located  # noqa: PLC0415  --help needs no reporter

    location = located(checked.locate(("routing", *side.key))) if side.key else None
    return {"rule": side.rule or None, "does": side.does, "location": location}
