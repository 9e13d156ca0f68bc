"""The records of one logical call, put together again: what is to be told of it as a span and in metrics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lmroute.model import AUTO, Privacy
from lmroute.telemetry.otel.conventions import CHAT
from lmroute.telemetry.otel.naming import provider_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NS_IN_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """A logical call.

    Attributes:
        told: its record with what the conventions need beside it: ``operation``, ``provider_name``, ``asked``,
            ``answered``, ``address``, ``port``, ``error``, ``policy``, ``reason``, ``output_type``, ``finish``.
        attempts: the records of its attempts in the same way.
        ended_ns: since the epoch.
    """

    told: Mapping[str, Any]
    attempts: tuple[Mapping[str, Any], ...]
    ended_ns: int

    @property
    def started_ns(self) -> int:
        """When it began, since the epoch."""
        return self.ended_ns - _ns(self.told.get("duration"))

    @property
    def is_ok(self) -> bool:
        """Whether it was answered."""
        return self.told.get("status") == "ok"

    @property
    def message(self) -> str:
        """Of a call that failed: what was said last, or why nobody was asked."""
        last = self.attempts[-1].get("message") if self.attempts else None
        return str(last or self.told.get("reason") or "")

    @property
    def is_private(self) -> bool:
        """Whether nothing of its content may leave this machine."""
        return (self.told.get("attributes") or {}).get("privacy") == Privacy.PRIVATE.value

    def without_content(self) -> Call:
        """The same without prompt and answer."""
        return replace(self, told={**self.told, "content": None})

    def span_of(self, attempt: Mapping[str, Any]) -> tuple[int, int]:
        """When one of its attempts began and ended, since the epoch; never outside of the call."""
        began = min(self.started_ns + _ns(attempt.get("started")), self.ended_ns)
        return began, min(began + _ns(attempt.get("duration")), self.ended_ns)


def calls(records: Iterable[Mapping[str, Any]], heard_ns: int = 0) -> Iterator[Call]:
    """The calls in some records, which have the attempts of a call before it.

    ``heard_ns`` is when they were handed over, which was at once. Records are cut to milliseconds, and a span that
    begins before the one around it looks wrong, so it tells the rest.
    """
    attempts: list[Mapping[str, Any]] = []
    for record in records:
        if record.get("kind") == "attempt":
            attempts.append(record)
        elif record.get("kind") == "call":
            own = tuple([_attempt(a) for a in attempts if a.get("call") == record.get("call")])
            yield Call(_told(record, own), own, _ended(record, heard_ns))
            attempts.clear()


def _ended(record: Mapping[str, Any], heard_ns: int) -> int:
    told = int(datetime.fromisoformat(record["ts"]).timestamp() * 1000) * _NS_IN_MS
    return max(told, min(heard_ns, told + _NS_IN_MS))


def _told(record: Mapping[str, Any], attempts: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    """Of a call that nobody answered, who was asked last stands for whom it went to."""
    last = attempts[-1] if attempts else {}
    who = {key: last.get(key) if record.get(key) is None else record[key] for key in _WHO}
    needs = (record.get("attributes") or {}).get("needs") or {}
    return {
        **record,
        **who,
        **_server(who, last.get("asked")),
        "operation": CHAT,
        "asked": _asked(last, record.get("model")),
        "answered": record.get("model"),
        "error": _error(record),
        "policy": str(record.get("stack") or "").partition("@")[0],
        "reason": _reason(record),
        "output_type": "json" if needs.get("response_schema") else None,
        "finish": (record.get("finish_reason") or "") if attempts else None,
        "content": _content(record),
    }


_WHO = ("provider", "type", "locality", "server")


def _attempt(record: Mapping[str, Any]) -> dict[str, Any]:
    answered = record.get("model") if record.get("status") == "ok" else None  # else it is who was asked
    return {**record, **_server(record, record.get("asked")), "answered": answered, "error": _error(record)}


def _asked(last: Mapping[str, Any], answered: str | None) -> str | None:
    """The model that was asked for; who leaves that to the server asks for the one that answers."""
    asked = last.get("asked")
    return answered or asked if asked == AUTO else asked


def _content(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Prompt and answer, if they were kept. An answer has to say why it ended."""
    content = record.get("content")
    if not content:
        return None
    reason = record.get("finish_reason") or "error"
    return {**content, "answer": [{"finish_reason": reason, **message} for message in content.get("answer") or ()]}


def _server(who: Mapping[str, Any], asked: str | None) -> dict[str, Any]:
    host, _, port = str(who.get("server") or "").rpartition(":")
    address = host.strip("[]") or None
    name = provider_name(who.get("type"), asked, address)
    return {
        "asked": asked,
        "address": address,
        "port": int(port) if address and port.isdecimal() else None,
        "provider_name": name,
    }


def _error(record: Mapping[str, Any]) -> str | None:
    """A caller who has heard enough is no error."""
    return record.get("errorCode") if record.get("status") == "error" else None


def _reason(record: Mapping[str, Any]) -> str:
    """Why it went where it went, in one line."""
    if record.get("refused"):
        return str(record["refused"])
    rule = f"rule {record['rule']}" if record.get("rule") else "no rule"
    dropped = [f"not {c['candidate']}: {c['dropped']}" for c in record.get("considered") or () if c.get("dropped")]
    return "; ".join([rule, *dropped])


def _ns(ms: float | None) -> int:
    return max(0, round((ms or 0.0) * _NS_IN_MS))
