"""Logging for people: what lmroute says under ``lmroute.*``, and what keeps secrets out of any log.

    import logging
    logging.basicConfig(level=logging.INFO)                   # shows lmroute's lines, which hold no secrets
    for handler in logging.root.handlers:
        handler.addFilter(lmroute.logs.RedactingFilter())     # and those of other libraries, which may

In a configuration for ``logging.config.dictConfig``, as Hydra has them, the classes go by their names
(``conf/hydra/job_logging/lmroute.yaml``).
"""

from __future__ import annotations

import json
import logging
import math
import os
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from lmroute import redact

if TYPE_CHECKING:
    from io import TextIOWrapper

_ROOT = "lmroute"
_USUAL = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", "exc_text"})
"""What every record has; anything else came from ``extra``."""
_DATA = (str, bytes, dict, list, tuple, set)
_ESCAPED = "backslashreplace"  # half a surrogate pair, which a model may well answer with


def logger(name: str) -> logging.Logger:
    """``logging.getLogger(name)``, whose lines are redacted before any handler sees them, the user's own included.

    Raises:
        ValueError: the name is not below ``lmroute``.
    """
    if name.partition(".")[0] != _ROOT:
        raise ValueError(f"lmroute logs under {_ROOT}.*, and {name!r} is not")
    found = logging.getLogger(name)
    found.addFilter(_REDACTING)  # once, however often it is asked for
    return found


class RedactingFilter(logging.Filter):
    """Takes secrets out of records, for a handler that carries the lines of other libraries.

    They write whole requests, headers and keys included, when they are told to say much. The record itself is changed,
    so handlers that come later see it redacted as well. A traceback becomes text, because its frames hold values.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact; every record passes."""
        for name in record.__dict__.keys() - _USUAL:
            setattr(record, name, redact.data({name: getattr(record, name)})[name])
        _redact_message(record)
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        record.exc_info = None
        record.exc_text = redact.text(record.exc_text) if record.exc_text else None
        record.stack_info = redact.text(record.stack_info) if record.stack_info else None
        return True


class JsonFormatter(logging.Formatter):
    """A line of JSON a record: ``ts`` (RFC 3339, UTC, ms), ``level``, ``logger``, ``message``, and what ``extra`` adds.

    With an exception also ``exception``, its traceback as text; with a stack ``stack``. All of it is redacted.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One record, without a line end."""
        RedactingFilter().filter(record)
        ts = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"ts": ts, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        added = {name: value for name, value in record.__dict__.items() if name not in _USUAL and name not in line}
        traces = {"exception": record.exc_text, "stack": record.stack_info}
        document = {**line, **added, **{name: text for name, text in traces.items() if text}}
        return redact.text(json.dumps(_as_json(document)))


class PrivateFileHandler(logging.FileHandler):
    """A ``FileHandler`` whose file is for this user's eyes only (mode 0600; on Windows the folder protects it)."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if "w" in self.mode else os.O_APPEND)
        file = os.fdopen(os.open(self.baseFilename, flags, 0o600), self.mode, encoding="utf-8", errors=_ESCAPED)
        return cast("TextIOWrapper", file)


def _redact_message(record: logging.LogRecord) -> None:
    """Redact what will be said. Plain arguments stay apart from their template, where formatters look for them."""
    record.msg = record.msg if isinstance(record.msg, str) else str(redact.data(record.msg))
    given, record.args = record.args, _shown(record.args)
    try:
        said = record.getMessage()
    except Exception as error:  # noqa: BLE001  arguments that do not fit; logging would print them to stderr
        said = f"{record.msg} {given!r} ({type(error).__name__}: the arguments do not fit this line)"
        record.args = None
    shown = redact.text(said)
    if shown != said or not _are_plain(record.args):
        record.msg, record.args = shown, ()


def _shown(arguments: Any) -> Any:
    """Arguments redacted one by one, data by its keys, which its text would not tell. Objects stay what they are."""
    if not isinstance(arguments, tuple):  # the one dictionary, which logging unpacks
        return redact.data(arguments) if arguments else arguments
    return tuple(redact.data(each) if isinstance(each, _DATA) else each for each in arguments)


def _are_plain(arguments: Any) -> bool:
    """Whether handlers that look at arguments would find nothing else in them than in the message."""
    return isinstance(arguments, tuple) and all(isinstance(each, (str, int, float)) for each in arguments)


def _as_json(value: Any) -> Any:
    """What JSON has no word for in the nearest one it has: sets as lists, bytes as text, NaN as ``"nan"``."""
    if isinstance(value, dict):
        return {str(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_as_json(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


_REDACTING = RedactingFilter()
