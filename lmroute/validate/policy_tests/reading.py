"""A file of tests, read against the policy that it tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lmroute.config.complaints import did_you_mean
from lmroute.config.compose import compose
from lmroute.config.decode import decode
from lmroute.config.keypaths import dotted
from lmroute.config.paths import options
from lmroute.config.secrecy import masked, quoted
from lmroute.diagnostics import Diagnostic, Severity, ordered
from lmroute.errors import ConfigError
from lmroute.model import Failure
from lmroute.routing.policy import compile_policy
from lmroute.routing.scenario import Scenario
from lmroute.validate import Checked
from lmroute.validate.files import check
from lmroute.validate.pipeline import judge
from lmroute.validate.policy_tests.discovery import policy_of
from lmroute.validate.policy_tests.requests import attributes_of
from lmroute.validate.policy_tests.words import unknown
from lmroute.validate.rows import proofs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lmroute.config.keypaths import KeyPath
    from lmroute.diagnostics import Location
    from lmroute.model import Attributes, Policy
    from lmroute.routing.policy import CompiledPolicy
    from lmroute.validate.files import File

_CHOOSES = "routing="


@dataclass(frozen=True, slots=True)
class Case:
    """One request and what must come of it.

    Attributes:
        place: where it stands.
        expect: as it is written: ``{"rule": "private", "never": ["openai"]}``.
        places: where each of these stands.
    """

    name: str
    place: Location
    attributes: Attributes
    scenario: Scenario
    expect: Mapping[str, Any]
    places: Mapping[str, Location]


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of a file, and the policy as it was composed for them.

    Attributes:
        file: its path as a message shows it.
        overrides: what the policy was composed with besides the choice of it.
        composed: what was composed, with the places of its keys.
    """

    file: str
    overrides: tuple[str, ...]
    cases: tuple[Case, ...]
    policy: CompiledPolicy
    composed: Checked


def read(file: File) -> Suite:
    """What a file of tests says.

    Raises ConfigError with everything that is wrong with it, or with the configuration that it asks for.
    """
    _refuse(found for found in check(file) if found.severity is Severity.ERROR)
    raw: dict[str, Any] = file.reading.document
    name, overrides = policy_of(file), tuple(raw.get("overrides", ()))
    _refuse(_misleading(name, overrides, file))
    try:
        composed = _composed([f"{_CHOOSES}{name}", *overrides])
    except ConfigError as error:
        raise ConfigError([_moved(found, overrides, file) for found in error.diagnostics]) from None
    stack = composed.stack
    policy = compile_policy(stack.policy, stack.providers, stack.seed)
    listed = [(("tests", str(index)), test) for index, test in enumerate(raw["tests"])]
    _refuse(found for path, test in listed for found in unknown(test, path, policy, file))
    cases = tuple(_case(test, path, policy.source, file) for path, test in listed)
    return Suite(file.shown, overrides, cases, policy, composed)


def _composed(overrides: list[str]) -> Checked:
    """The configuration, if it can be decided by. What is proved of a policy is no reason not to try it out."""
    composition = compose(overrides)
    proved = {rule.code for rule in proofs.ROWS}
    _refuse(f for f in judge(composition) if f.severity is Severity.ERROR and f.code not in proved)
    return Checked(decode(composition.document), composition.locate)


def _refuse(findings: Iterator[Diagnostic]) -> None:
    if found := ordered(findings):
        raise ConfigError(found)


def _misleading(policy: str, overrides: tuple[str, ...], file: File) -> Iterator[Diagnostic]:
    """A policy that is not there, or that is chosen twice."""
    if policy not in (known := options("routing")):
        advice = did_you_mean(policy, known) or f"write `policy: NAME`; there are {', '.join(known)}"
        yield Diagnostic("LMR103", f"there is no policy {quoted(policy)}", file.locate(("policy",)), "policy", advice)
    for index, override in enumerate(overrides):
        if override.startswith(_CHOOSES):
            path = ("overrides", str(index))
            advice = f"write `policy: {override.removeprefix(_CHOOSES)}` instead"
            yield Diagnostic("LMR103", "a policy is not chosen here", file.locate(path), dotted(path), advice)


def _moved(finding: Diagnostic, overrides: tuple[str, ...], file: File) -> Diagnostic:
    """A finding about an override at the place where the file has it."""
    places = {masked(word): ("overrides", str(index)) for index, word in enumerate(overrides)}
    path = places.get(finding.location.override)
    return replace(finding, location=file.locate(path)) if path else finding


def _case(raw: dict[str, Any], path: KeyPath, policy: Policy, file: File) -> Case:
    expected = raw["expect"]
    return Case(
        name=raw["name"],
        place=file.locate((*path, "name")),
        attributes=attributes_of(raw.get("request", {}), policy),
        scenario=_scenario(raw),
        expect=expected,
        places={key: file.locate((*path, "expect", key), key=True) for key in expected},
    )


def _scenario(raw: dict[str, Any]) -> Scenario:
    return Scenario(
        down=frozenset(raw.get("down", ())),
        throttled=frozenset(raw.get("throttled", ())),
        fails={who: Failure(how) for who, how in raw.get("fails", {}).items()},
        budgets_used=frozenset(raw.get("budget_used", ())),
        load=raw.get("load", {}),
        latency_ms=raw.get("latency_ms", {}),
    )
