"""Predicates, boxes and requests in words."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from lmroute.model import BUILT_IN, AllOf, AnyOf, Attributes, Kind, Not, Operator, Predicate, Privacy, Test, shown
from lmroute.routing.classes import NUMBERS
from lmroute.routing.conditions import field_of
from lmroute.routing.proofs.axes import OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.model import Domain
    from lmroute.routing.proofs.axes import Axis, Class
    from lmroute.routing.proofs.space import Space

_SIGNS = {
    Operator.EQ: "=",
    Operator.NE: "!=",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.IN: "in",
    Operator.NOT_IN: "not in",
    Operator.MATCHES: "matches",
    Operator.CONTAINS: "has",
    Operator.CONTAINS_ANY: "has any of",
    Operator.CONTAINS_ALL: "has all of",
}


def condition(predicate: Predicate) -> str:
    """A predicate as people read it: ``privacy = private and prompt_tokens > 8000``."""
    match predicate:
        case Test(attribute, operator, operand):
            return _test(shown(field_of(attribute)), operator, operand)
        case AllOf((part,)) | AnyOf((part,)):
            return condition(part)
        case AllOf(parts):
            return " and ".join(map(_part, parts)) if parts else "always"
        case AnyOf(parts):
            return " or ".join(map(_part, parts)) if parts else "never"
        case Not(part):
            return f"not {_part(part)}"


def _part(predicate: Predicate) -> str:
    text = condition(predicate)
    is_single = isinstance(predicate, Test | Not) or len(predicate.parts) == 1
    return text if is_single else f"({text})"


def _test(name: str, operator: Operator, operand: Any) -> str:
    if operator is Operator.EXISTS:
        return f"{name} is {'stated' if operand else 'not stated'}"
    if operator is Operator.BETWEEN:
        return f"{name} from {operand[0]} to {operand[1]}"
    told = f"'{operand}'" if operator is Operator.MATCHES else value(operand)
    return f"{name} {_SIGNS[operator]} {told}"


def value(plain: Any) -> str:
    """A word, a number, a flag or a list as people write it."""
    if isinstance(plain, bool):
        return str(plain).lower()
    if isinstance(plain, tuple | list):
        return f"[{', '.join(map(value, sorted(plain)))}]"
    return f"'{plain}'" if plain == "" else str(plain)


def stated(attributes: Attributes, domains: dict[str, Domain]) -> dict[str, Any]:
    """What a request states beyond the defaults, by the names that people write. JSON-able."""
    found: dict[str, Any] = {}
    for name, domain in domains.items():
        if name == "total_tokens":
            continue
        has = getattr(attributes, name) if name in BUILT_IN else attributes.own.get(name, domain.default)
        if has != domain.default:
            found[shown(name)] = sorted(has) if domain.kind is Kind.SET else _plain(has)
    return {**found, "use": attributes.use} if attributes.use else found


def request(attributes: Attributes, domains: dict[str, Domain]) -> str:
    """A request as people read it: ``privacy=private, prompt_tokens=9000``."""
    told = stated(attributes, domains)
    return ", ".join(f"{name}={value(part)}" for name, part in told.items()) or "a request that states nothing"


def _plain(word: Any) -> Any:
    return word.value if isinstance(word, Privacy) else word


def box(space: Space, whole: int) -> str:
    """The requests of a box: ``privacy private, prompt_tokens from 8001``. ``all requests`` when nothing bounds it."""
    return ", ".join(bounds(space, whole)) or "all requests"


def bounds(space: Space, whole: int) -> Iterator[str]:
    """What each attribute of the requests of a box is bound to, where it is."""
    fields = Counter(axis.attribute for axis in space.axes)
    for number, axis in enumerate(space.axes):
        kept = space.layout.classes(whole, number)
        if len(kept) < len(axis.classes):
            yield _bound(axis, kept, alone=fields[axis.attribute] == 1)


def _bound(axis: Axis, kept: tuple[int, ...], *, alone: bool) -> str:
    name = shown(axis.attribute)
    if axis.member is not None:
        if axis.member == OTHERS and alone and not axis.domain.default:
            return f"{name} {'stated' if kept == (1,) else 'not stated'}"
        return f"{name} {'with' if kept == (1,) else 'without'} {'others' if axis.member == OTHERS else axis.member}"
    if axis.domain.kind in NUMBERS:
        return f"{name} {' or '.join(_ranges([axis.classes[at] for at in kept], axis.domain))}"
    if axis.domain.kind is Kind.BOOL:
        return f"{name}={value(axis.classes[kept[0]].value)}"
    return f"{name} {_words(axis, kept)}"


def _words(axis: Axis, kept: tuple[int, ...]) -> str:
    """The texts of some classes. All those that no test names are told by what they are not."""
    left_out = tuple(at for at in range(len(axis.classes)) if at not in kept)
    if axis.domain.default == "" and (axis.home,) in {kept, left_out}:
        return "not stated" if kept == (axis.home,) else "stated"
    unnamed = {at for at, class_ in enumerate(axis.classes) if class_.unnamed is not None}
    if unnamed and unnamed.issubset(kept):
        return f"other than {' or '.join(_text(axis.classes[at]) for at in left_out)}"
    return " or ".join(_text(axis.classes[at]) for at in kept)


def _text(class_: Class) -> str:
    if class_.unnamed is None:
        return value(class_.value)
    patterns = [f"{'matching' if does else 'not matching'} '{pattern}'" for pattern, does in class_.unnamed]
    return patterns[0] if len(patterns) == 1 else f"({' and '.join(patterns)})"


def _ranges(classes: list[Class], domain: Domain) -> Iterator[str]:
    """Ranges of numbers, neighbours made one; without the ends that the domain has anyway."""
    runs: list[tuple[float | None, float | None]] = []
    for class_ in classes:
        if runs and class_.low is not None and runs[-1][1] is not None and _is_next(runs[-1][1], class_.low):
            runs[-1] = (runs[-1][0], class_.high)
        else:
            runs.append((class_.low, class_.high))
    for low, high in runs:
        is_one = low is not None and low == high
        yield str(low) if is_one else span(None if low == domain.low else low, None if high == domain.high else high)


def span(low: float | None, high: float | None) -> str:
    """A range: ``1 to 4``; with an end that is left out, as those of floats may be, ``above 0.5 and up to 1.0``."""
    if low is not None and low == high:
        return str(low)
    least, most = _end(low, "from", "above", -math.inf), _end(high, "up to", "below", math.inf)
    if low is not None and high is not None and least.startswith("from") and most.startswith("up"):
        return f"{low} to {high}"
    return " and ".join(filter(None, (least, most)))


def _end(number: float | None, included: str, left_out: str, away: float) -> str:
    """An end of a range. A float next to one that is shorter to write is where that one is left out."""
    if number is None:
        return ""
    near = number if isinstance(number, int) else math.nextafter(number, away) + 0.0  # -0.0 is 0.0
    return f"{left_out} {near}" if len(str(near)) < len(str(number)) else f"{included} {number}"


def _is_next(high: float, low: float) -> bool:
    whole = isinstance(high, int) and isinstance(low, int)
    return low == high + 1 if whole else low > high and low - high < abs(high) * 1e-12 + 1e-300
