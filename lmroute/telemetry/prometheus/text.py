"""Prometheus' text format, version 0.0.4: metrics to text.

https://prometheus.io/docs/instrumenting/exposition_formats/: a metric's lines stand together, no two of its samples
have the same labels, and the value of a label may be any Unicode text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Labels: TypeAlias = tuple[str | None, ...]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Metric:
    """A counter or a gauge: its samples by the values of its labels.

    Attributes:
        labels: their names.
    """

    name: str
    kind: Literal["counter", "gauge"]
    about: str
    labels: tuple[str, ...] = ()
    samples: dict[Labels, float] = field(default_factory=dict)

    def add(self, value: float, *labels: str | None) -> None:
        """Count a value to the sample that has these labels."""
        key = tuple(label or None for label in labels)
        self.samples[key] = self.samples.get(key, 0) + value

    def lines(self) -> Iterator[str]:
        """The metric; nothing without samples."""
        if self.samples:
            yield from _heading(self.name, self.kind, self.about)
        for values, sample in self.samples.items():
            yield _sample(self.name, zip(self.labels, values, strict=True), sample)


@dataclass(slots=True)
class Histogram:
    """How many values there are up to each of some bounds, by the values of the labels.

    Attributes:
        bounds: ascending; above the last one there is one bucket more.
        samples: the counts of the buckets, and the values' sum.
    """

    name: str
    about: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]
    samples: dict[Labels, tuple[list[int], list[float]]] = field(default_factory=dict)

    def add(self, at: int, count: int, total: float, *labels: str | None) -> None:
        """Count values to a bucket. ``at``: the index of its upper bound."""
        key = tuple(label or None for label in labels)
        counts, totals = self.samples.setdefault(key, ([0] * (len(self.bounds) + 1), []))
        counts[at] += count
        totals.append(total)

    def lines(self) -> Iterator[str]:
        """The metric; nothing without samples."""
        if self.samples:
            yield from _heading(self.name, "histogram", self.about)
        for values, (counts, totals) in self.samples.items():
            labels = list(zip(self.labels, values, strict=True))
            so_far = 0
            for bound, count in zip((*map(_number, self.bounds), "+Inf"), counts, strict=True):
                so_far += count
                yield _sample(f"{self.name}_bucket", [*labels, ("le", bound)], so_far)
            yield _sample(f"{self.name}_sum", labels, fsum(totals))
            yield _sample(f"{self.name}_count", labels, so_far)


def text_of(metrics: Iterable[Metric | Histogram]) -> str:
    """All of them, each line with its end."""
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def _heading(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {name} " + about.replace("\\", "\\\\").replace("\n", "\\n"), f"# TYPE {name} {kind}"


def _sample(name: str, labels: Iterable[tuple[str, str | None]], value: float) -> str:
    """A line. To Prometheus a label that is empty and one that is not there are the same."""
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels if text)
    return f"{name}{{{shown}}} {_number(value)}" if shown else f"{name} {_number(value)}"


def _escaped(text: str) -> str:
    whole = text.encode("utf-8", errors="replace").decode("utf-8")  # half of a surrogate pair is no Unicode text
    return whole.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
