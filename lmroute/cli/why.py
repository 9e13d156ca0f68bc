"""Tell where a value of the configuration comes from: every file and override that set it, and which one won.

KEY is a key of the composed configuration, like providers.lmstudio.endpoint or routing.rules.0.use.
Exit codes: 0 told, 1 there is no such key or the configuration cannot be composed, 2 wrong usage.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.cli.output import emit, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lmroute.config.history import History, Step

FORMAT_VERSION = 1
_WIDE, _NARROW = 100, 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("key", metavar="KEY", help="the key to tell about: task.limit, routing, providers.openai.models.0")
    add("overrides", nargs="*", metavar="OVERRIDE", help="as for run.py: provider=[lmstudio,openai] routing=local_only")
    add("--json", action="store_true", help="the same for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the history of a key."""
    # Imported late: --help needs no Hydra.
    from lmroute.config.compose import compose  # noqa: PLC0415
    from lmroute.config.history import history  # noqa: PLC0415
    from lmroute.config.secrecy import masked  # noqa: PLC0415

    told = history(compose(arguments.overrides), arguments.key)
    if arguments.json:
        overrides = [masked(override) for override in arguments.overrides]
        data = {"format_version": FORMAT_VERSION, "overrides": overrides, **told.as_data()}
        text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    else:
        text = "\n".join(lines(told))
    emit(redact.text(text) + "\n")
    return 0


def lines(told: History, indent: str = "", lead: str = "") -> Iterator[str]:
    """A history as a person reads it. ``lead`` is the reference that led to it."""
    ended = f" = {_short(told.value, _WIDE)}" if told.is_set else f": {told.note}"
    yield f"{indent}{lead}{told.key}{ended}"
    inner = f"{indent}  "
    yield from table([_cells(step) for step in told.steps], inner)
    if any(step.did == "replaced" and step.value.startswith("[") for step in told.steps):
        yield f"{inner}(lists are replaced, never merged)"
    if told.children and told.steps:
        yield f"{inner}its keys:"
    children = [(child.key, _short(child.value, _NARROW), str(child.place)) for child in told.children]
    yield from table(children, f"{inner}  ")
    for reference, origin in told.came_from:
        yield from lines(origin, inner, f"{reference} -> ")


def _cells(step: Step) -> tuple[str, ...]:
    chosen = f"(chosen by {step.chosen_by})" if step.chosen_by else ""
    return ("*" if step.wins else "-", str(step.place), step.did, _short(step.value, _NARROW), chosen)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
