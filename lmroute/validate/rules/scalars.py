"""The rule about plain scalars that two YAML readers read as two things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.config.keypaths import dotted
from lmroute.config.secrecy import quoted
from lmroute.config.text import nodes, yaml12
from lmroute.diagnostics import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.validate.files import File

_LONGEST = 100
"""Characters of the longest scalar that anybody means as a number."""


def ambiguous(file: File) -> Iterator[Diagnostic]:
    """LMR003: a value or key that is one thing in YAML 1.1, which Hydra reads, and another in YAML 1.2."""
    for scalar in nodes.plain_scalars(file.reading.node, file.text, file.shown):
        if len(scalar.written) > _LONGEST:
            continue
        ours, theirs = scalar.value, yaml12.scalar(scalar.written)
        if repr(ours) != repr(theirs):  # 1 is not True here, and a nan is one
            message, advice = _words(scalar.written, ours, theirs, scalar.path)
            yield Diagnostic("LMR003", message, scalar.place, dotted((*file.package, *scalar.path)), advice)


def _words(written: str, ours: Any, theirs: Any, path: KeyPath) -> tuple[str, str]:
    text = quoted(written, *path)
    if text == "the value":
        return "Hydra (YAML 1.1) and editors (YAML 1.2) read this value differently", "put it in quotes"
    values = " or ".join(quoted(value) for value in (ours, theirs) if not isinstance(value, str))
    message = f"{_named(ours)} to Hydra (YAML 1.1), {_named(theirs)} to editors (YAML 1.2)"
    return message, f"write {text} if the text is meant, else {values}"


def _named(value: Any) -> str:
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    return quoted(value) if value is None or isinstance(value, bool) else f"the number {quoted(value)}"
