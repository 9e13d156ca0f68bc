"""What became of each row, and what they amount to together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lmroute.experiments.scoring import baseline, is_right, normal, percentile, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.experiments.data import Row

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row as it ended.

    Attributes:
        answer: the output fields; empty when there was none.
        calls: the routing trace of each LM call that the row took, in order.
        error: why there is no answer; empty when there is one.
        unserved: whether that is because no provider answered, rather than because the answer was unusable.
        refused: whether that was the row's own fault (too long, say), which says nothing about the providers.
        duration_ms: wall time.
    """

    row: Row
    answer: dict[str, Any] = field(default_factory=dict)
    calls: tuple[dict[str, Any], ...] = ()
    error: str = ""
    unserved: bool = False
    refused: bool = False
    duration_ms: float = 0.0

    @property
    def right(self) -> bool:
        """Whether the answer is there and every field of it is right."""
        return bool(self.answer) and is_right(self.row.expected, self.answer)

    @property
    def served_by(self) -> dict[str, Any]:
        """The trace of the call that gave the answer; empty when none did."""
        return self.calls[-1] if self.calls else {}

    def as_dict(self) -> dict[str, Any]:
        """The line of ``results.jsonl``."""
        return {
            "line": self.row.line,
            "inputs": self.row.inputs,
            "expected": self.row.expected,
            "answer": self.answer,
            "right": self.right if self.row.expected else None,
            "provider": self.served_by.get("provider"),
            "model": self.served_by.get("model"),
            "rule": self.served_by.get("rule"),
            "duration": round(self.duration_ms, 3),
            "error": self.error,
            "calls": list(self.calls),
        }


@dataclass(frozen=True, slots=True)
class Fallback:
    """Attempts that failed before another candidate answered, counted by what happened."""

    provider: str
    failure: str
    message: str
    count: int


def fallbacks(outcomes: Sequence[Outcome]) -> list[Fallback]:
    """All failed attempts of calls that were answered in the end, most frequent first."""
    counted: Counter[tuple[str, str]] = Counter()
    messages: dict[tuple[str, str], str] = {}
    for outcome in outcomes:
        for call in outcome.calls:
            for attempt in call["attempts"]:
                if attempt["status"] == "error":
                    key = (attempt["provider"], attempt["errorCode"])
                    counted[key] += 1
                    messages.setdefault(key, attempt.get("message", ""))
    return [Fallback(*key, messages[key], count) for key, count in counted.most_common()]


def summarise(outcomes: Sequence[Outcome], *, duration_s: float) -> dict[str, Any]:
    """The figures of a run, JSON-able. Accuracy is over all rows that were tried; a row without an answer is wrong."""
    labelled = [o for o in outcomes if o.row.expected]
    right = sum(o.right for o in labelled)
    guess, answer = baseline([o.row.expected for o in labelled])
    durations = [o.duration_ms for o in outcomes if not o.unserved]
    return {
        "format_version": FORMAT_VERSION,
        "rows": len(outcomes),
        "answered": sum(bool(o.answer) for o in outcomes),
        "unserved": sum(o.unserved for o in outcomes),
        "unusable": sum(bool(o.error) and not o.unserved for o in outcomes),
        "right": right,
        "accuracy": right / len(labelled) if labelled else None,
        "interval": list(wilson(right, len(labelled))) if labelled else None,
        "baseline": guess if labelled else None,
        "baseline_answer": answer,
        "fields": _by_field(labelled),
        "by_provider": dict(Counter(_server(o) for o in outcomes if o.calls and not o.unserved)),
        "by_rule": dict(Counter(str(o.served_by.get("rule")) for o in outcomes if o.calls and not o.unserved)),
        "fallbacks": [
            {"provider": f.provider, "errorCode": f.failure, "message": f.message, "count": f.count}
            for f in fallbacks(outcomes)
        ],
        "duration_s": round(duration_s, 3),
        "p50_ms": round(percentile(durations, 0.5), 1),
        "p95_ms": round(percentile(durations, 0.95), 1),
    }


def _server(outcome: Outcome) -> str:
    return f"{outcome.served_by.get('provider')}/{outcome.served_by.get('model')}"


def _by_field(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The share of right values of each output field."""
    names = outcomes[0].row.expected if outcomes else ()
    return {
        name: sum(normal(o.answer.get(name)) == normal(o.row.expected[name]) for o in outcomes) / len(outcomes)
        for name in names
    }
