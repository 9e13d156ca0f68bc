"""The request of a test: from what is written to the attributes that a policy reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.config.complaints import did_you_mean
from lmroute.config.keypaths import dotted
from lmroute.config.schema import POLICY_TEST, schema
from lmroute.diagnostics import Diagnostic
from lmroute.model import BUILT_IN, Attributes, Kind, Privacy
from lmroute.routing.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.model import Domain, Policy
    from lmroute.validate.files import File


def attributes_of(request: dict[str, Any], policy: Policy) -> Attributes:
    """The attributes of a request without unknown words."""
    own = _declared(policy)
    fields = {name: value for name, value in request.items() if name not in own and name != "needs"}
    fields |= {f"needs_{need}": True for need in request.get("needs", ())}
    fields |= {name: convert(fields[name]) for name, convert in _CONVERTERS.items() if name in fields}
    stated = {name: _value(request[name], domain) for name, domain in own.items() if name in request}
    return Attributes(own=stated, **fields)


def unknown_words(request: dict[str, Any], path: KeyPath, policy: Policy, file: File) -> Iterator[Diagnostic]:
    """What a request at ``path`` says that its policy would refuse, each word at its place."""
    vocabulary, own = Vocabulary.of(policy), _declared(policy)
    built_in = schema(f"{POLICY_TEST}.schema.json")["$defs"]["request"]["properties"]
    for name, value in request.items():
        where = (*path, name)
        if name not in own and name not in built_in:
            known = [*own, *built_in]
            advice = did_you_mean(name, known) or f"known: {', '.join(known)}"
            message = f"policy '{policy.name}' knows no such attribute"
            yield Diagnostic("LMR102", message, file.locate(where, key=True), dotted(where), advice)
            continue
        is_set = name in policy.domains and policy.domains[name].kind is Kind.SET
        for place, part in _parts(where, value, is_set=is_set):
            if problem := vocabulary.problem(attributes_of({name: part}, policy)):
                yield Diagnostic("LMR103", problem, file.locate(place), dotted(place))


def _parts(path: KeyPath, value: Any, *, is_set: bool) -> Iterator[tuple[KeyPath, Any]]:
    """A value, or each of its members, with its place."""
    if is_set and isinstance(value, list):
        yield from (((*path, str(index)), [member]) for index, member in enumerate(value))
    else:
        yield path, value


def _declared(policy: Policy) -> dict[str, Domain]:
    """The attributes that are the policy's own."""
    return {name: domain for name, domain in policy.attributes.items() if name not in BUILT_IN}


def _value(raw: Any, domain: Domain) -> Any:
    return frozenset(raw) if domain.kind is Kind.SET and isinstance(raw, list) else raw


_CONVERTERS = {
    "tags": frozenset,
    "privacy": Privacy,
    "prompt_tokens": int,  # JSON counts 3.0 as a whole number
    "max_output_tokens": int,
    "lot": int,
}
