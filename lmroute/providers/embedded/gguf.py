"""Look into a GGUF file before llama.cpp does: is it one, and which context was the model trained for?

The format: magic ``GGUF``, version (u32), number of tensors and of key-value pairs (u64 each), then the pairs, each a
length-prefixed key, a type number and a value; everything little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from lmroute.errors import EmbeddedUnavailable

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_LFS_POINTER = b"version https://git-lfs"
_LONGEST = 1 << 24
"""Bytes of one text that we are willing to read; chat templates, the longest, stay far below."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a model says about itself; empty or ``None`` where it does not say.

    Attributes:
        context_length: the longest window the model was trained for, in tokens.
    """

    architecture: str = ""
    name: str = ""
    context_length: int | None = None


class _Damaged(Exception):
    """The header contradicts itself or the file ends inside it."""


class _Reader:
    """Reads values and never past the end of the file, whatever lengths it claims."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        self._require(count)
        return self._file.read(count)

    def number(self, code: str) -> Any:
        """The next value of a ``struct`` code."""
        layout = struct.Struct(f"<{code}")
        return layout.unpack(self.take(layout.size))[0]

    def string(self) -> str:
        """The next length-prefixed text."""
        if (length := self.number("Q")) > _LONGEST:
            raise _Damaged
        return self.take(length).decode("utf-8", errors="replace")

    def value(self) -> Any:
        """The next typed value; ``None`` for an array, which is skipped."""
        kind = self.number("I")
        if kind == _ARRAY:
            return self._skip_array()
        return self.string() if kind == _STRING else self.number(self._code(kind))

    def _skip_array(self) -> None:
        kind, count = self.number("I"), self.number("Q")
        if kind != _STRING:
            return self._skip(count * struct.calcsize(self._code(kind)))
        for _ in range(count):  # ends early: each round takes bytes or finds that there are none
            self._skip(self.number("Q"))
        return None

    def _skip(self, count: int) -> None:
        self._require(count)
        self._file.seek(count, 1)

    def _require(self, count: int) -> None:
        if count > self._size - self._file.tell():
            raise _Damaged

    @staticmethod
    def _code(kind: int) -> str:
        if kind not in _SCALARS:
            raise _Damaged
        return _SCALARS[kind]


def read_header(path: Path) -> GgufHeader:
    """Check that ``path`` is a GGUF model and read what it says about itself.

    Raises:
        EmbeddedUnavailable: no such file, not readable, not a GGUF, or cut off; the message names the file.
    """
    try:
        if path.is_dir():
            raise EmbeddedUnavailable(f"{path} is a folder; providers.embedded.model_path names one .gguf file")
        with path.open("rb") as file:
            return _header(file, path)
    except FileNotFoundError:
        raise EmbeddedUnavailable(f"no model file at {path}; check providers.embedded.model_path") from None
    except OSError as error:
        raise EmbeddedUnavailable(f"cannot read the model file {path}: {error.strerror}") from error
    except _Damaged:
        raise EmbeddedUnavailable(f"{path} is a damaged GGUF file (cut off?); fetch it again") from None


def _header(file: IO[bytes], path: Path) -> GgufHeader:
    if (start := file.read(len(_LFS_POINTER))) == _LFS_POINTER:
        raise EmbeddedUnavailable(f"{path} is a Git LFS pointer, not the model; run: git lfs pull")
    if not start.startswith(_MAGIC):
        raise EmbeddedUnavailable(f"{path} is not a GGUF file; providers.embedded.model_path needs one")
    file.seek(len(_MAGIC))
    reader = _Reader(file, path.stat().st_size)
    if (version := reader.number("I")) not in _VERSIONS:
        raise EmbeddedUnavailable(f"{path} is GGUF version {version}; llama.cpp reads versions 2 and 3")
    tensors, pairs = reader.number("Q"), reader.number("Q")
    if not tensors:
        raise EmbeddedUnavailable(f"{path} is a GGUF file without weights (a vocabulary?); name a model")
    return _facts(reader, pairs)


def _facts(reader: _Reader, pairs: int) -> GgufHeader:
    """The three facts we want, read no further than needed: the tokenizer's big arrays mostly come last."""
    found: dict[str, Any] = {}
    for _ in range(pairs):
        key = reader.string()
        found[key] = reader.value()
        window = found.get(f"{found.get('general.architecture')}.context_length")
        if window is not None and "general.name" in found:
            break
    architecture, name = found.get("general.architecture"), found.get("general.name")
    window = found.get(f"{architecture}.context_length")
    return GgufHeader(
        architecture=architecture if isinstance(architecture, str) else "",
        name=name if isinstance(name, str) else "",
        context_length=window if isinstance(window, int) and window > 0 else None,
    )
