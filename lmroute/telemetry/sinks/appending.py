"""A file that lines are appended to, by several threads and processes at once, so that a crash tears only the last."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from lmroute.forks import Locked

_APPENDING = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)  # Windows: no CR LF


class TornError(OSError):
    """The file system took only a part.

    Attributes:
        whole: how many of the lines are complete in the file.
    """

    whole = 0


class AppendedFile(Locked):
    """A file of lines, mode 0600. It is opened by the first line, and anew when somebody has deleted it.

    All that append to a path in this process share one of these (``of``), so that each knows of a line that is torn.

    Args:
        path: an absolute path.
        private: a folder above the file which, with what is made below it, gets mode 0700.
    """

    def __init__(self, path: Path, private: Path | None = None) -> None:
        super().__init__()
        self.path = path
        self._private = private
        self._fd: int | None = None
        self._torn = False

    @staticmethod
    def of(path: Path, private: Path | None = None) -> AppendedFile:
        """The one of this path."""
        return _FILES.of(path, private)

    def append(self, lines: bytes) -> None:
        """Append whole lines with one system call.

        Raises:
            TornError: only a part of them is in the file. What comes next begins on a line of its own.
            OSError: nothing of them is.
        """
        with self._lock:
            fd = self._open()
            start = b"\n" if self._torn else b""
            taken = os.write(fd, start + lines)
            self._torn = taken < len(start) + len(lines)
            if self._torn:
                # One byte more: a line that lacks nothing but its end gets it now, or when the next line begins.
                raise self._torn_error(fd, lines[: max(0, taken - len(start)) + 1].count(b"\n"))

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        with self._lock:
            fd, self._fd = self._fd, None
            if fd is not None:
                os.close(fd)

    def __del__(self) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def _torn_error(self, fd: int, whole: int) -> TornError:
        """What says why, once the line is ended; if that is refused as well, the system gives its reason."""
        reason = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            self._torn = not os.write(fd, b"\n")
        except OSError as error:
            reason = error
        torn = TornError(reason.errno, reason.strerror)
        torn.whole = whole
        return torn

    def _open(self) -> int:
        if self._fd is not None and os.fstat(self._fd).st_nlink == 0:
            self.close()  # what is written to a deleted file is lost without anybody's noticing
        if self._fd is None:
            self._make_folder()
            self._fd = os.open(self.path, _APPENDING, 0o600)
            self._torn = _ends_within_a_line(self.path, os.fstat(self._fd))
        return self._fd

    def _make_folder(self) -> None:
        if self._private is not None:
            self._private.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.parent.mkdir(mode=0o777 if self._private is None else 0o700, parents=True, exist_ok=True)


def _ends_within_a_line(path: Path, status: os.stat_result) -> bool:
    """Whether a writer before us was killed in the middle of a line.

    One that is in the middle of it right now looks the same: then a line is empty, which does no harm.
    """
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return False
    with suppress(OSError), path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
    return False


class _Files(Locked):
    """The files that somebody in this process appends to, by path."""

    def __init__(self) -> None:
        super().__init__()
        self._known: WeakValueDictionary[str, AppendedFile] = WeakValueDictionary()

    def of(self, path: Path, private: Path | None) -> AppendedFile:
        absolute = os.path.abspath(path)  # noqa: PTH100 - Path.absolute() keeps "..", which would be another key
        with self._lock:
            return self._known.setdefault(absolute, AppendedFile(Path(absolute), private))


_FILES = _Files()
