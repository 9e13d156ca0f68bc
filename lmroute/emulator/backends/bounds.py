"""A number within the bounds that a JSON Schema sets."""

from __future__ import annotations

import math
from typing import Any

_SPAN = 10
"""How far a picked integer lies from a bound when there is no other one."""


def integer(schema: dict[str, Any], choice: int) -> int | None:
    """An integer, picked by ``choice`` among those allowed; ``None`` when there is none."""
    step = schema.get("multipleOf", 1)
    if step != int(step):
        return 0 if _allows(schema, 0) else None  # 0 is a multiple of everything
    first, last = _multiples(schema, int(step))
    if first is None:
        first = 0 if last is None else min(0, last - _SPAN)
    if last is None:
        last = first + _SPAN
    return (first + choice % (last - first + 1)) * int(step) if first <= last else None


def real(schema: dict[str, Any], choice: int) -> float | int | None:
    """A number, picked by ``choice`` among those allowed; between 0 and 1 when nothing is said."""
    if "multipleOf" in schema:
        return integer(schema, choice)
    low = max((schema[name] for name in ("minimum", "exclusiveMinimum") if name in schema), default=None)
    high = min((schema[name] for name in ("maximum", "exclusiveMaximum") if name in schema), default=None)
    if low is None:
        low = 0 if high is None else min(0, high - 1)
    if high is None:
        high = low + 1
    between = low + (high - low) * (1 + choice % 99) / 100
    return next((value for value in (between, low, high) if _allows(schema, value)), None)


def _multiples(schema: dict[str, Any], step: int) -> tuple[int | None, int | None]:
    """The first and the last allowed multiple, counted in steps."""
    firsts = [-int(-schema["minimum"] // step)] if "minimum" in schema else []
    lasts = [int(schema["maximum"] // step)] if "maximum" in schema else []
    if "exclusiveMinimum" in schema:
        firsts.append(int(schema["exclusiveMinimum"] // step) + 1)
    if "exclusiveMaximum" in schema:
        lasts.append(-int(-schema["exclusiveMaximum"] // step) - 1)
    return max(firsts, default=None), min(lasts, default=None)


def _allows(schema: dict[str, Any], value: float) -> bool:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    return bool(low <= value <= high and above < value < below)
