"""Command lines to what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.config.compose import Composition, TooManyJobs, compose, jobs, sweeps
from lmroute.config.keypaths import present, undotted
from lmroute.errors import ConfigError, LmrouteError
from lmroute.validate.files import check, discover
from lmroute.validate.pipeline import judge, stamped
from lmroute.validate.sampling import EXPERIMENT, endless
from lmroute.validate.variants import Variants, profiles_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lmroute.diagnostics import Diagnostic
    from lmroute.validate.files import File
    from lmroute.validate.sampling import Choice

_POLICY = "routing"
_LEAKS = {"LMR324", "LMR325"}

MOST_JOBS = 1000
"""Jobs of one sweep that are checked; each takes a while."""

_Findings: TypeAlias = "tuple[Diagnostic, ...]"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is wrong with a command line. Without a composition, it cannot be composed."""

    overrides: tuple[str, ...]
    findings: _Findings
    composition: Composition | None = None


def asked(
    overrides: Sequence[str], *, multirun: bool, progress: Callable[[int], None] | None = None
) -> Iterator[Outcome]:
    """The outcome of a command line, or of each job of its sweep.

    Args:
        progress: is told the number of jobs before the first one of several is composed.

    Raises LmrouteError when there are more than ``MOST_JOBS``.
    """
    given, files = tuple(overrides), discover()
    if (outcome := _uncomposable(given, files)) is not None:
        yield outcome
        return
    multirun = multirun or _sweeps_by_itself(given)
    try:
        sweep = [tuple(job) for job in jobs(given, MOST_JOBS)] if multirun else [given]
    except ConfigError as error:
        yield _refused(given, error)
        return
    except TooManyJobs as error:
        advice = f"at most {MOST_JOBS} are checked: narrow it, or check one job without -m"
        raise LmrouteError(f"{error}; {advice}") from None
    if progress and len(sweep) > 1:
        progress(len(sweep))
    for words in sweep:
        yield (_uncomposable(words, files) if multirun else None) or _outcome(words, partial(compose, words))


def _sweeps_by_itself(words: Sequence[str]) -> bool:
    """Whether what is chosen makes a sweep of it, as run.py would; only these words can."""
    return any(word.lstrip("+").startswith(("experiment=", "hydra.mode=")) for word in words) and sweeps(words)


def _uncomposable(words: tuple[str, ...], files: Sequence[File]) -> Outcome | None:
    """What is wrong with the files that Hydra would compose for ever, when a command line chooses any."""
    found = [finding for file in endless(files, words) for finding in check(file)]
    return Outcome(words, tuple(found)) if found else None


def sampled(choices: Iterable[Choice], files: Sequence[File]) -> Iterator[Outcome]:
    """The outcomes of command lines that nobody typed, the defaults first.

    Such a command line is a template: a key that waits for its value is no mistake, nor is a secret that this machine
    may never need, nor that an option does not go with the defaults of another group, as long as it goes with some.
    """
    variants: Variants | None = None
    for choice in choices:
        for outcome in _outcomes(choice, variants):
            if choice.option is None and outcome.composition:
                variants = Variants(outcome.composition, files)
            found = _complete(outcome)
            if choice.option and choice.option.group != EXPERIMENT:
                found = _unpaired(found, outcome, files)
                if choice.option.group == _POLICY:
                    found = (*(f for f in found if f.code not in _LEAKS), *_leaks(outcome, files))
            yield replace(outcome, findings=found)


def _complete(outcome: Outcome) -> _Findings:
    """What is wrong whatever is still added on the command line."""
    return tuple(finding for finding in outcome.findings if not _is_left_open(finding, outcome.composition))


def _unpaired(findings: _Findings, outcome: Outcome, files: Sequence[File]) -> _Findings:
    """What is wrong whichever providers and task a policy is chosen with; nobody has chosen yet."""
    pairing = {"LMR304", "LMR313"}
    if any(finding.code == "LMR302" for finding in findings) and not _suits_nobody(outcome, files):
        pairing.add("LMR302")
    return tuple(finding for finding in findings if finding.code not in pairing)


def _leaks(outcome: Outcome, files: Sequence[File]) -> _Findings:
    """What a policy's guarantees do not keep whichever providers it is chosen with: as if all were selected."""
    everybody = _with_everybody(outcome, files)
    return tuple(finding for finding in judge(everybody) if finding.code in _LEAKS) if everybody else ()


def _suits_nobody(outcome: Outcome, files: Sequence[File]) -> bool:
    """Whether the policy could not choose any provider, were all of them selected."""
    everybody = _with_everybody(outcome, files)
    return everybody is not None and any(finding.code == "LMR302" for finding in judge(everybody))


def _with_everybody(outcome: Outcome, files: Sequence[File]) -> Composition | None:
    """A composition with all the providers that there are."""
    if outcome.composition is None:
        return None
    profiles = {name: profile for file in files for name, profile in profiles_in(file).items()}
    return replace(outcome.composition, document={**outcome.composition.document, "providers": profiles})


def _outcomes(choice: Choice, variants: Variants | None) -> Iterator[Outcome]:
    words, option = choice.overrides, choice.option
    make = partial(variants.of, option, words) if variants and option else partial(compose, words)
    if not (option and _sweeps(option.reading.document)):
        return iter([_outcome(words, make)])
    try:
        jobs(words, MOST_JOBS)
    except TooManyJobs:  # nobody asked for each of them: the experiment is judged without its sweep
        return iter([_outcome(words, make)])
    except ConfigError as error:
        return iter([_refused(words, error)])
    return asked(words, multirun=True)


def _sweeps(document: Any) -> bool:
    """Whether an experiment is a sweep, of which each job is one of its own."""
    hydra = document.get("hydra") if isinstance(document, dict) else None
    return isinstance(hydra, dict) and "sweeper" in hydra


def _outcome(overrides: tuple[str, ...], make: Callable[[], Composition]) -> Outcome:
    try:
        composition = make()
    except ConfigError as error:
        return _refused(overrides, error)
    return Outcome(overrides, tuple(judge(composition)), composition)


def _refused(overrides: tuple[str, ...], error: ConfigError) -> Outcome:
    return Outcome(overrides, tuple(replace(stamped(finding), overrides=overrides) for finding in error.diagnostics))


def _is_left_open(finding: Diagnostic, composition: Composition | None) -> bool:
    """Whether a finding says no more than that a template is not complete, or not for this machine."""
    if finding.code == "LMR401":
        return True
    path = undotted(finding.key)
    # A key that waits for its value stands there; one that does not is a mistake in a file.
    return finding.code == "LMR101" and composition is not None and present(composition.document, path) == path
