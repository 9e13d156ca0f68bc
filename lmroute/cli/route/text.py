"""An explanation as a person reads it, with the place of everything that it names."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from lmroute.cli.output import table
from lmroute.model import BUILT_IN, Attributes, shown
from lmroute.routing.outcomes import Combined, Compared, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.cli.route.request import Asked as Question
    from lmroute.config.keypaths import KeyPath
    from lmroute.config.provenance import Locate
    from lmroute.routing.explain import Asked, Explanation, Ordered
    from lmroute.routing.outcomes import Outcome

_ROUTING = "routing"
_BARE = {"declared"}
"""Orders that have nothing to tell about a candidate."""


def lines(explanation: Explanation, locate: Locate, circumstances: list[str]) -> list[str]:
    """An explanation in lines, the answer last."""
    return list(_lines(explanation, locate, circumstances))


def located(explanation: Explanation, locate: Locate) -> dict[str, Any]:
    """An explanation for programs, each rule and guarantee with its place."""
    data = explanation.as_data()
    for key, asked in (("rules", explanation.rules), ("guarantees", explanation.guarantees)):
        for row, one in zip(data[key], asked, strict=True):
            row["location"] = asdict(locate(_path(key, one)))
    if explanation.choice:
        data["caller_choice"]["location"] = asdict(locate(_path("caller_choice", explanation.choice)))
    return data


def circumstances(asked: Question) -> list[str]:
    """What a command line says about servers and budgets, in words."""
    scenario = asked.scenario
    told = [f"{name} is down" for name in sorted(scenario.down)]
    told += [f"{name} is throttled" for name in sorted(scenario.throttled)]
    told += [f"budget '{name}' is used to {percent:g} %" for name, percent in asked.budgets.items()]
    told += [f"{name}: {calls} calls under way" for name, calls in scenario.load.items()]
    return told + [f"{name}: {latency:g} ms" for name, latency in scenario.latency_ms.items()]


def circumstances_as_data(asked: Question) -> dict[str, Any]:
    """The same for programs."""
    scenario = asked.scenario
    return {
        "down": sorted(scenario.down),
        "throttled": sorted(scenario.throttled),
        "budgets": dict(asked.budgets),
        "load": dict(scenario.load),
        "latency_ms": dict(scenario.latency_ms),
    }


def _lines(explanation: Explanation, locate: Locate, circumstances: list[str]) -> Iterator[str]:
    yield f"policy '{explanation.policy}'  {locate((_ROUTING, 'name'))}"
    yield f"request  {_request(explanation.attributes)}"
    yield from (f"given    {told}" for told in circumstances)
    if explanation.rules:
        yield from ("", "rules, in the order in which they are asked:")
        yield from _asked(explanation.rules, "rules", locate)
    if explanation.choice:
        yield from ("", f"the caller chose '{explanation.attributes.use}', so no rule is asked:")
        yield from _asked((explanation.choice,), "caller_choice", locate)
    if explanation.guarantees:
        yield from ("", "guarantees:")
        yield from _asked(explanation.guarantees, "guarantees", locate)
    yield from _orders(explanation)
    yield from _candidates(explanation)
    yield from ("", f"=> {explanation.verdict}")


def _request(attributes: Attributes) -> str:
    """What differs from the defaults."""
    usual = Attributes()
    own = [(name, value) for name, value in attributes.own.items()]
    built_in = [(f.name, getattr(attributes, f.name)) for f in fields(Attributes) if f.name in {*BUILT_IN, "use"}]
    told = [f"{shown(name)}={_word(value)}" for name, value in built_in if value != getattr(usual, name)]
    told += [f"{name}={_word(plain(value))}" for name, value in own]
    return f"{' '.join(told)}; all else as by default" if told else "everything as by default"


def _asked(asked: tuple[Asked, ...], where: str, locate: Locate) -> Iterator[str]:
    heads = list(table([_head(one, where, locate) for one in asked], "  "))
    for head, one in zip(heads, asked, strict=True):
        yield head
        if one.when is not None:
            yield from table(list(_tests(one.when, "")), "      ")


def _head(asked: Asked, where: str, locate: Locate) -> tuple[str, ...]:
    priority = "" if asked.priority is None else f"priority {asked.priority}"
    return (asked.name, str(locate(_path(where, asked))), priority, asked.says)


def _path(where: str, asked: Asked) -> KeyPath:
    """Where a rule or guarantee stands; what is in no list is a key of its own: ``default``, ``caller_choice``."""
    return (_ROUTING, asked.name) if asked.position is None else (_ROUTING, where, str(asked.position))


def _tests(outcome: Outcome, indent: str) -> Iterator[tuple[str, str, str]]:
    """Each test: whether it holds, what it says, and what the request has."""
    mark = "yes" if outcome.holds else "no"
    match outcome:
        case Compared(attribute, operator, operand, value):
            has = "none" if value == () else _word(value)
            yield mark, f"{indent}{attribute} {operator} {_word(operand)}", f"the request has {has}"
        case Combined("all", ()):
            yield mark, f"{indent}no condition: it holds for every request", ""
        case Combined("not", (Combined("all", ()),)):
            yield mark, f"{indent}not: every request", ""
        case Combined(how, parts):
            yield mark, f"{indent}{how} of these:" if how != "not" else f"{indent}not:", ""
            for part in parts:
                yield from _tests(part, f"{indent}  ")


def _orders(explanation: Explanation) -> Iterator[str]:
    told = [ordered for ordered in explanation.orders if ordered.order.value not in _BARE and ordered.candidates[1:]]
    for ordered in told:
        yield from ("", f"order of a selection of '{ordered.rule}': {ordered.order.value}{_lot(ordered, explanation)}")
        yield from table([(str(placed.candidate), placed.by) for placed in ordered.candidates], "  ")


def _lot(ordered: Ordered, explanation: Explanation) -> str:
    is_weighted = any(placed.share is not None for placed in ordered.candidates)
    return f", the smallest number first, for lot {explanation.lot} (each prompt has its own)" if is_weighted else ""


def _candidates(explanation: Explanation) -> Iterator[str]:
    if not explanation.candidates:
        return
    yield from ("", "candidates, in order:")
    rows = []
    for told in explanation.candidates:
        fate = f"dropped: {told.dropped}" if told.dropped else "kept"
        fate += f", despite: {told.despite}" if told.despite else ""
        rows.append((f"{told.place}." if told.place else "-", str(told.candidate), f"of '{told.rule}'", fate))
    yield from table(rows, "  ")
    if explanation.decision.fallback_on is not None:
        failures = ", ".join(sorted(explanation.decision.fallback_on)) or "no failure"
        yield f"  the next one is asked after {failures} only"


def _word(value: Any) -> str:
    """A value as a policy writes it."""
    match value:
        case bool():
            return str(value).lower()
        case tuple() | frozenset():
            return f"[{', '.join(map(_word, plain(value)))}]"
        case "":
            return "none"
        case _:
            return str(value)
