"""What of the files of call records was not read yet."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.telemetry import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TAIL = 128
_PIECE = 4 << 20


@dataclass(frozen=True, slots=True)
class Known:
    """How far a file was read.

    Attributes:
        id: the file's number in the index.
        read: bytes that were read, all of them whole lines.
        tail: what stands before that place: if it is something else now, the file is another one.
        size, mtime_ns: of the file then.
    """

    id: int
    read: int
    tail: bytes
    size: int
    mtime_ns: int

    def is_unchanged(self, stat: os.stat_result) -> bool:
        """Whether there is nothing new."""
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole lines of a file, which begin at an offset."""

    at: int
    lines: bytes

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.at + len(self.lines)

    @property
    def tail(self) -> bytes:
        """The last bytes."""
        return self.lines[-_TAIL:]


def found(paths: Iterable[Path]) -> Iterator[tuple[str, os.stat_result]]:
    """The files that some paths name, each by its real path, so that one that has two names is taken once."""
    for path in dict.fromkeys(map(os.path.realpath, paths)):
        yield from files.found(Path(path))


def is_continued(path: str, known: Known) -> bool:
    """Whether a file still begins with what was read of it. Raises OSError."""
    with Path(path).open("rb") as file:
        file.seek(known.read - len(known.tail))
        return file.read(len(known.tail)) == known.tail


def pieces(path: str, start: int) -> Iterator[Piece]:
    """What stands in a file from an offset on, up to the last line that is whole. Raises OSError."""
    with Path(path).open("rb") as file:
        file.seek(start)
        rest = b""
        while new := file.read(_PIECE):
            end = new.rfind(b"\n") + 1
            if end:
                piece = Piece(start, rest + new[:end])
                yield piece
                start, rest = piece.end, new[end:]
            else:
                rest += new


def line_at(path: str, at: int) -> bytes:
    """The line that begins at an offset. Raises OSError."""
    with Path(path).open("rb") as file:
        file.seek(at)
        return file.readline()
