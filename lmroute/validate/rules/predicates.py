"""Rules about predicates: they ask for attributes that there are, and in a way that these can answer."""

from __future__ import annotations

import re
import warnings
from itertools import chain
from typing import TYPE_CHECKING, Any

from lmroute.config.complaints import did_you_mean
from lmroute.config.secrecy import quoted
from lmroute.model import Kind, Operator
from lmroute.routing.patterns import hazard
from lmroute.validate.domains import misfit
from lmroute.validate.rules.attributes import declared, domains

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from lmroute.config.keypaths import KeyPath
    from lmroute.diagnostics import Diagnostic
    from lmroute.model import Domain
    from lmroute.validate.domains import Misfit
    from lmroute.validate.written import Asked, Holder, Written

_ONE_OF = (Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN)
_SIZE = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN)
_NUMBER = (*_ONE_OF, *_SIZE, Operator.EXISTS)
_OPERATORS: Mapping[Kind, tuple[Operator, ...]] = {
    Kind.ENUM: _ONE_OF,
    Kind.INT: _NUMBER,
    Kind.FLOAT: _NUMBER,
    Kind.BOOL: _ONE_OF[:2],
    Kind.SET: (Operator.CONTAINS, Operator.CONTAINS_ANY, Operator.CONTAINS_ALL, Operator.EXISTS),
    Kind.TEXT: (*_ONE_OF, Operator.MATCHES, Operator.EXISTS),
}
"""What can be asked of an attribute. One of few words, or of two, always has one, so nobody asks whether it exists."""


def answerable(holder: Holder) -> Iterator[Diagnostic]:
    """LMR311: a predicate asks for what there is not, or what an attribute of this type cannot answer."""
    if (policy := holder.written) is not None:
        known = domains(policy)
        yield from _unknown(policy, known)
        for asked in policy.asked:
            if domain := known.get(asked.attribute):
                yield from _unanswerable(policy, asked, domain)


def ranges(holder: Holder) -> Iterator[Diagnostic]:
    """LMR103: ``between`` with its ends the wrong way round, which no number can satisfy."""
    if (policy := holder.written) is None:
        return
    for asked in policy.asked:
        if asked.operator == Operator.BETWEEN and asked.operand[0] > asked.operand[1]:
            low, high = asked.operand
            message = f"nothing lies between {low} and {high}"
            yield policy.finding("LMR103", asked.path, message, f"write [{high}, {low}]")


def are_sound(holder: Holder) -> bool:
    """Whether the attributes and predicates of a policy mean something: then it can be compiled and reasoned about."""
    return not any(chain(declared(holder), answerable(holder), ranges(holder)))


def _unknown(policy: Written, known: Collection[str]) -> Iterator[Diagnostic]:
    if not policy.knows_attributes:
        return
    for path, name, _ in policy.read:
        if name not in known:
            advice = did_you_mean(name, known) or "declare it: attributes: {" + name + ": {type: …}}"
            yield policy.finding("LMR311", path, f"there is no attribute '{name}'", advice, at_key=True)


def _unanswerable(policy: Written, asked: Asked, domain: Domain) -> Iterator[Diagnostic]:
    operator = Operator(asked.operator)
    if operator not in _OPERATORS[domain.kind]:
        message = f"'{operator}' asks nothing of '{asked.attribute}', which is of type {domain.kind}"
        yield policy.finding("LMR311", asked.path, message, _instead(operator, domain), at_key=True)
    elif operator is Operator.MATCHES:
        if found := _no_expression(asked.operand, asked.path):
            yield policy.finding("LMR311", asked.path, *found)
    elif operator is not Operator.EXISTS:
        for path, value in _operands(asked):
            if found := misfit(value, asked.attribute, domain, path):
                yield policy.finding("LMR311", path, *found)


def _instead(operator: Operator, domain: Domain) -> str:
    if operator is Operator.EXISTS:
        return "leave it out: every request has one of its words" if domain.values else "write eq: true or eq: false"
    return f"it answers {', '.join(_OPERATORS[domain.kind])}"


def _operands(asked: Asked) -> Iterator[tuple[KeyPath, Any]]:
    """The constants of a comparison, each where it stands."""
    if isinstance(asked.operand, list):
        yield from (((*asked.path, str(index)), value) for index, value in enumerate(asked.operand))
    else:
        yield asked.path, asked.operand


def _no_expression(text: str, path: KeyPath) -> Misfit:
    """What keeps a text from being a regular expression, or one that can be matched in a time that one can wait for."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of what later versions of Python may read otherwise
            re.compile(text)
        danger = hazard(text)
    except re.error as error:
        where = f" at character {error.pos + 1}" if error.pos is not None else ""
        advice = "to mean a special character itself, write a backslash before it: \\("
        return f"{quoted(text, *path)} is no regular expression: {error.msg}{where}", advice
    except (OverflowError, RecursionError):
        return f"{quoted(text, *path)} is too much for a regular expression", "write a shorter one"
    if danger:
        advice = "end what is repeated with what it cannot match otherwise, ([^.]+\\.)*, or list the words with in: […]"
        return f"{quoted(text, *path)} may take for ever on some texts: {danger}", advice
    return None
