"""Running tests, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lmroute.config.paths import options
from lmroute.errors import ConfigError
from lmroute.routing.coverage import Coverage, goals, seen
from lmroute.routing.scenario import play
from lmroute.validate.policy_tests.discovery import find, policy_of
from lmroute.validate.policy_tests.expecting import misses
from lmroute.validate.policy_tests.places import path_of, places
from lmroute.validate.policy_tests.reading import read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmroute.diagnostics import Diagnostic, Location
    from lmroute.routing.coverage import Goal
    from lmroute.routing.simulate import Simulation
    from lmroute.validate.policy_tests.expecting import Miss
    from lmroute.validate.policy_tests.reading import Case, Suite


@dataclass(frozen=True, slots=True)
class Result:
    """A test and what came of it.

    Attributes:
        misses: the expectations that were not met; none when it passed.
        decided: where the rule that decided is written; ``None`` when none did.
    """

    case: Case
    call: Simulation
    misses: tuple[Miss, ...]
    decided: Location | None


@dataclass(frozen=True, slots=True)
class Ran:
    """A file of tests that was run."""

    suite: Suite
    results: tuple[Result, ...]

    @property
    def failed(self) -> tuple[Result, ...]:
        """The tests that did not pass."""
        return tuple(result for result in self.results if result.misses)


@dataclass(frozen=True, slots=True)
class Covered:
    """What all tests of one policy have shown of it.

    Attributes:
        tests: how many there are.
        places: where each goal is written.
    """

    tests: int = 0
    coverage: Coverage = field(default_factory=Coverage)
    places: Mapping[Goal, Location] = field(default_factory=dict)

    def __or__(self, other: Covered) -> Covered:
        return Covered(self.tests + other.tests, self.coverage | other.coverage, {**other.places, **self.places})


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that came of running tests.

    Attributes:
        covered: by policy.
        untested: policies that have no tests, when all tests were run.
        errors: what keeps files from being run.
    """

    ran: tuple[Ran, ...]
    covered: Mapping[str, Covered]
    untested: tuple[str, ...]
    errors: tuple[Diagnostic, ...]

    @property
    def failed(self) -> int:
        """How many tests did not pass."""
        return sum(len(ran.failed) for ran in self.ran)

    def below(self, percent: float) -> list[str]:
        """The policies of which less than this was shown; of an untested one, nothing was."""
        short = [name for name, covered in self.covered.items() if covered.coverage.percent < percent]
        return [*short, *(self.untested if percent > 0 else ())]


def run(words: Sequence[str] = ()) -> Report:
    """Run the tests that some words mean, as ``find`` has it; without words, all.

    Raises LmrouteError for a word that means none. What is wrong with a file is in the report, and the others run.
    """
    files = find(words)
    ran: list[Ran] = []
    errors: list[Diagnostic] = []
    covered: dict[str, Covered] = {}
    for file in files:
        try:
            suite = read(file)
        except ConfigError as error:
            errors += error.diagnostics
            continue
        ran.append(Ran(suite, tuple(_result(case, suite) for case in suite.cases)))
        name = suite.policy.name
        covered[name] = covered.get(name, Covered()) | _covered(ran[-1])
    tested = {policy_of(file) for file in files}
    untested = () if words else tuple(name for name in options("routing") if name not in tested)
    return Report(tuple(ran), covered, untested, tuple(errors))


def _result(case: Case, suite: Suite) -> Result:
    call = play(suite.policy, case.attributes, case.scenario)
    rule, composed = call.decision.rule, suite.composed
    decided = composed.locate(path_of(rule, composed.stack.policy)) if rule and not call.decision.refused else None
    return Result(case, call, misses(case.expect, call), decided)


def _covered(ran: Ran) -> Covered:
    policy, wanted = ran.suite.policy, goals(ran.suite.policy)
    calls = [(result.case.attributes, result.call) for result in ran.results]
    shown = frozenset(goal for attributes, call in calls for goal in seen(policy, attributes, call))
    return Covered(len(ran.results), Coverage(wanted, shown), places(wanted, ran.suite.composed))
