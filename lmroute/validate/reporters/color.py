"""ANSI colours, as few as needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.diagnostics import Severity

if TYPE_CHECKING:
    from collections.abc import Callable

BOLD, BLUE, CYAN = "1", "1;34", "1;36"
STYLE_OF = {Severity.ERROR: "1;31", Severity.WARNING: "1;33"}


def painter(color: bool) -> Callable[[str, str], str]:
    """``paint(text, style)``; without colour it gives the text back."""
    return _painted if color else _plain


def _painted(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m"


def _plain(text: str, style: str) -> str:  # noqa: ARG001  the painter's signature
    return text
