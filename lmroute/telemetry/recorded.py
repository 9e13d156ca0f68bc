"""A recorded call as ``routing.replay`` takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.model import BUILT_IN, Attributes, Candidate, Facts, Failure, Kind, Privacy
from lmroute.routing.replay import Recorded
from lmroute.telemetry.events import CANCELLED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lmroute.routing.attempts import Failed
    from lmroute.telemetry.reading import Call


def recorded(call: Call) -> Recorded | None:
    """What a call's records say; ``None`` when they do not have the shape of their version."""
    record = call.record
    try:
        failed = tuple(filter(None, map(_failed, call.attempts)))
        answered = _given_up(call, failed) if record["errorCode"] == CANCELLED else _answered(call, failed)
        attributes, facts = attributes_from(record), facts_from(record)
        if not (_are_sound(attributes) and _are_numbers(facts)):
            return None
        return Recorded(
            id=call.id,
            attributes=attributes,
            facts=facts,
            rule=str(record["rule"]),
            failed=tuple(each for each in failed if each[0] != answered),  # one may fail once, and answer when retried
            answered=answered,
            duration_ms=_duration(call) if answered and record["errorCode"] != CANCELLED else None,
            input_tokens=_count(record.get("input_tokens")),
            output_tokens=_count(record.get("output_tokens")),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def attributes_from(record: Mapping[str, Any]) -> Attributes:
    """The attributes that a call's record was made of."""
    known = record["attributes"]
    needs = {f"needs_{name}": value for name, value in known["needs"].items()}
    plain = {name: value for name, value in known.items() if name not in {"needs", "own", "tags", "privacy"}}
    return Attributes(
        **plain,
        **needs,
        tags=frozenset(known["tags"]),
        privacy=Privacy(known["privacy"]),
        own={name: _as_value(value) for name, value in known.get("own", {}).items()},
    )


def facts_from(record: Mapping[str, Any]) -> Facts:
    """The facts that a call's record was decided by; of load and latencies, what the decision looked at."""
    known = record.get("facts", {})
    by_candidate = {
        name: {_candidate(shown): value for shown, value in known.get(name, {}).items()} for name in _BY_CANDIDATE
    }
    pins = {rule: _candidate(shown) for rule, shown in known.get("pins", {}).items()}
    return Facts(**by_candidate, spent=frozenset(known.get("spent", ())), pins=pins)


_BY_CANDIDATE = ("out", "throttled", "windows", "load", "latency_ms")


def considered(record: Mapping[str, Any]) -> list[tuple[Candidate, str]]:
    """The candidates of a call's decision in their order, each with why it was dropped."""
    return [(_candidate(each["candidate"]), str(each.get("dropped", ""))) for each in record["considered"]]


def _are_sound(attributes: Attributes) -> bool:
    """Whether each built-in attribute has a value of its kind; a policy's own are for its vocabulary to judge."""
    return all(_IS[domain.kind](getattr(attributes, name)) for name, domain in BUILT_IN.items())


_IS: Mapping[Kind, Callable[[Any], bool]] = {
    Kind.TEXT: lambda value: isinstance(value, str),
    Kind.ENUM: lambda value: isinstance(value, str),
    Kind.BOOL: lambda value: isinstance(value, bool),
    Kind.INT: lambda value: isinstance(value, int) and not isinstance(value, bool),
    Kind.SET: lambda value: all(isinstance(word, str) for word in value),
}


def _are_numbers(facts: Facts) -> bool:
    numbers = (*facts.windows.values(), *facts.load.values(), *facts.latency_ms.values())
    return all(isinstance(number, int | float) for number in numbers)


def _candidate(name: str) -> Candidate:
    provider, _, model = name.partition("/")
    return Candidate(provider, model)


def _failed(attempt: Mapping[str, Any]) -> Failed | None:
    """A failed attempt. One that was cancelled did not fail."""
    code = attempt["errorCode"]
    return (_asked(attempt), Failure(code)) if code not in {None, CANCELLED} else None


def _asked(attempt: Mapping[str, Any]) -> Candidate:
    """The candidate of an attempt. Records of before name it only where nobody answered, as the model."""
    return Candidate(attempt["provider"], attempt.get("asked", attempt["model"]))


def _answered(call: Call, failed: tuple[Failed, ...]) -> Candidate | None:
    """Who answered. Records of before name only the model that the server says it is, which need not be the one it was
    asked for: so, of the candidates of its provider, the one of that name, else the first that had not failed, else the
    last that had, which was retried."""
    record, last = call.record, next(iter(call.attempts[-1:]), {})
    kept = [candidate for candidate, dropped in considered(record) if not dropped]
    if record["provider"] is None:
        return None
    if last.get("asked") and not last["errorCode"]:
        return _asked(last)
    answered = Candidate(record["provider"], record["model"] or "")
    known = [candidate for candidate in kept if candidate.provider == answered.provider]
    out = [candidate for candidate, _ in failed if candidate in known]
    fresh = [candidate for candidate in known if candidate not in out]
    return answered if answered in known or not known else [*fresh, *reversed(out)][0]


def _given_up(call: Call, failed: tuple[Failed, ...]) -> Candidate | None:
    """Who would have answered a call that its caller cancelled: who was being asked, else who was next."""
    asked = (_asked(attempt) for attempt in call.attempts if attempt["errorCode"] == CANCELLED)
    out = {candidate for candidate, _ in failed}
    left = (candidate for candidate, dropped in considered(call.record) if not dropped and candidate not in out)
    return next(asked, None) or next(left, None)


def _duration(call: Call) -> float:
    served = [attempt["duration"] for attempt in call.attempts if not attempt["errorCode"]]
    return float(served[-1] if served else call.record["duration"])


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _as_value(value: Any) -> Any:
    return frozenset(value) if isinstance(value, list) else value
