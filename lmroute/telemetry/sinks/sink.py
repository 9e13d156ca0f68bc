"""Where call records go: the contract, and the sinks that need no thread of their own.

Writing never fails a call, whatever becomes of the record.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lmroute import redact
from lmroute.logs import logger
from lmroute.telemetry.sinks.appending import AppendedFile
from lmroute.telemetry.sinks.lines import LinesSink

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_log = logger("lmroute.telemetry")


class Sink(Protocol):
    """Somewhere records go."""

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Take some records. What it raises fails no call: it is said once, and counted.

        Any thread may call it, and the end of an abandoned stream may, while that very thread is in here. Other sinks
        may be given the same records, so they are not to be changed.
        """


class NoSink:
    """Keeps nothing."""

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Forget them."""


class SafeSink:
    """Another sink whose failures are no call's: the first is said, all are counted.

    Attributes:
        failures: writes that raised.
    """

    def __init__(self, sink: Sink) -> None:
        self.failures = 0
        self._sink = sink

    @classmethod
    def of(cls, sink: Sink) -> SafeSink:
        """This sink made safe; itself if it is."""
        return sink if isinstance(sink, cls) else cls(sink)

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Hand the records on."""
        try:
            self._sink.write(lines)
        except Exception as error:  # noqa: BLE001 - a call that was answered is worth more than its record
            self._failed(error)

    def flush(self) -> bool:
        """Have the sink finish what it was given, if it does so later; whether it has."""
        return self._do("flush") is not False

    def close(self) -> None:
        """Close the sink, if that is something it can do."""
        self._do("close")

    def _do(self, what: str) -> Any:
        try:
            return getattr(self._sink, what, _nothing)()
        except Exception as error:  # noqa: BLE001 - there may be others after it
            self._failed(error)
            return False

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if self.failures == 1:
            what = redact.one_line(f"{type(error).__name__}: {error}")
            _log.warning("the sink %s failed: %s; the calls themselves go on", type(self._sink).__name__, what)


class JsonlSink(LinesSink):
    """A JSONL file that several threads and processes may append to. Opened at the first record, mode 0600."""

    name = "file"

    def __init__(self, path: Path | str) -> None:
        super().__init__(Path(path))
        self._appended = AppendedFile.of(self.path)

    def _file(self, records: Sequence[dict[str, Any]]) -> AppendedFile:  # noqa: ARG002 - all go to the same one
        return self._appended

    def _close(self) -> None:
        self._appended.close()


class Tee:
    """Several sinks, which all get the same records; what happens in one is nothing to the others."""

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._sinks = [SafeSink.of(sink) for sink in sinks]

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Make the records once and hand them to every sink, in order."""
        records = tuple(lines)
        for sink in self._sinks:
            sink.write(records)

    def flush(self) -> bool:
        """Have all finish what they were given; whether they have."""
        done = [sink.flush() for sink in self._sinks]
        return all(done)

    def close(self) -> None:
        """Close those that can be, the last first: what it has lost, the first may still tell."""
        for sink in reversed(self._sinks):
            sink.close()


def _nothing() -> None:
    pass
