"""What making a project would do to a folder, found out before anything is written."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from lmroute.config.paths import MARKER, shipped
from lmroute.config.secrecy import hidden_from
from lmroute.errors import LmrouteError
from lmroute.scaffold.pieces import Kind, Piece, pieces

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST_DIFF = 60


class State(Enum):
    """What is there already."""

    NEW = "new"
    SAME = "same"
    DIFFERENT = "different"
    """Another text, which making the project would replace."""
    FOREIGN = "foreign"
    """A file of other tools without our part, which somebody must add."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A piece and its place.

    Attributes:
        found: the text that is there; empty if nothing is.
    """

    piece: Piece
    path: Path
    state: State
    found: str = ""

    @property
    def diff(self) -> str:
        """From what is there to what would be, as a unified diff; of a long one the beginning."""
        after, name = self.piece.text.splitlines(), self.piece.name
        before = _veiled(self.found.splitlines(), after)
        lines = list(difflib.unified_diff(before, after, name, f"{name} (new)", lineterm=""))
        more = len(lines) - _LONGEST_DIFF
        return "\n".join([*lines[:_LONGEST_DIFF], *([f"… and {more} more lines"] if more > 0 else [])])


def plan(folder: Path) -> list[Planned]:
    """Each piece that a project in ``folder`` is to have.

    Where there is a project already, its configuration is the user's, and the examples are no part of it.

    Raises:
        LmrouteError: something stands in the way, all of it named.
    """
    conf = folder / "conf"
    if conf.resolve() == shipped("conf").resolve():
        raise LmrouteError(
            f"{conf} is what lmroute ships; make your project in a folder of its own: lmroute init FOLDER"
        )
    try:
        begun = (conf / MARKER).is_file()
        wanted = [piece for piece in pieces() if not (begun and piece.kind is Kind.EXAMPLE)]
        planned = [_planned(piece, folder / piece.name) for piece in wanted]
        written = [item.path for item in planned if item.state in {State.NEW, State.DIFFERENT}]
        obstacles = dict.fromkeys(filter(None, map(_obstacle, written)))
    except OSError as error:
        raise LmrouteError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if obstacles:
        raise LmrouteError("\n".join(obstacles))
    return planned


def _veiled(found: list[str], known: list[str]) -> list[str]:
    """Lines without what may be a secret in them; those that we have too hold none."""
    ends = zip(found, hidden_from(found), strict=True)
    return [line if line in known or end >= len(line) else f"{line[:end]}***" for line, end in ends]


def _planned(piece: Piece, path: Path) -> Planned:
    if not path.is_file():
        return Planned(piece, path, State.NEW)
    found = path.read_text(encoding="utf-8", errors="replace")
    if piece.kind is Kind.SHARED:
        return Planned(piece, path, State.SAME if piece.sign in found else State.FOREIGN, found)
    return Planned(piece, path, State.SAME if found == piece.text else State.DIFFERENT, found)


def _obstacle(path: Path) -> str | None:
    """Why a file cannot be written, as far as one can see without trying."""
    if path.is_dir():
        return f"{path}: is a folder, and a file is to be written there; move it away"
    nearest = next(above for above in path.parents if os.path.lexists(above))
    if not nearest.is_dir():
        return f"{nearest}: is not a folder, and files are to be written below it; move it away"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"{nearest}: may not be written to; choose another folder or change its permissions"
    return None
