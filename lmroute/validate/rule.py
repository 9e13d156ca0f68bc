"""A rule of ``lmroute validate``: what one code means, how bad it is and who says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmroute.diagnostics import Diagnostic, Severity
    from lmroute.validate.context import Context
    from lmroute.validate.files import File

FileCheck: TypeAlias = "Callable[[File], Iterator[Diagnostic]]"
ConfigCheck: TypeAlias = "Callable[[Context], Iterator[Diagnostic]]"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table.

    Attributes:
        summary: what is wrong, in a few words.
        why: what would happen if nobody said so, and how to mend it.
        severity: of what a running server says, the worst it can be: a rule may have another server that answers.
        of_file, of_config: the generators that say it; none where only composing, the reader of suppressions or a
            server does.
        of_server: a running server says it (``lmroute.health.live``).
    """

    code: str
    severity: Severity
    summary: str
    why: str
    of_file: tuple[FileCheck, ...] = ()
    of_config: tuple[ConfigCheck, ...] = ()
    of_server: bool = False
