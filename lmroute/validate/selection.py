"""What one run of ``lmroute validate`` looks at, and its report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from lmroute.config.paths import overlays, roots, shown
from lmroute.diagnostics import Diagnostic, Report, ordered
from lmroute.errors import LmrouteError
from lmroute.validate import folders
from lmroute.validate.changed import changed_since
from lmroute.validate.files import File, check, discover
from lmroute.validate.sampling import mentioned, sample, words_of
from lmroute.validate.suppressions import OF_FILES, apply
from lmroute.validate.table import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lmroute.diagnostics import Location
    from lmroute.validate.compositions import Outcome
    from lmroute.validate.sampling import Choice

    _Own: TypeAlias = Mapping[File, list[Diagnostic]]

UNSOUND = {"LMR001", "LMR002", "LMR204"}
"""What keeps a file from taking part in a composition: it cannot be read, lands where it does not belong, or asks for
what is not there."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to look at.

    Attributes:
        overrides: the command line to judge; empty for every file, option and experiment.
        multirun: judge each job of the sweep that the overrides describe.
        changed: only what stands in files that differ from this git ref; ``""`` is the last commit. None for all files.
        files_only: the files by themselves, without composing anything.
        progress: is told the number of jobs of a sweep before the first one is checked.
    """

    overrides: tuple[str, ...] = ()
    multirun: bool = False
    changed: str | None = None
    files_only: bool = False
    progress: Callable[[int], None] | None = None


def run(request: Request) -> Report:
    """Everything that is wrong with what a request names.

    Raises LmrouteError when git is asked for changes and cannot tell them.
    """
    if request.files_only and (request.overrides or request.multirun):
        raise LmrouteError("--files-only composes nothing: leave the overrides and -m out, or --files-only")
    files = discover()
    scope = _Scope.of(request.changed, files)
    if not scope.everything and not scope.files:
        return Report(tuple(folders.check()), {"files": 0, "compositions": 0})
    own, outcomes = _examined(request, files, scope)
    news = [finding for outcome in outcomes for finding in _news(outcome, own)]
    fuller = {_sameness(finding) for finding in news if finding.related}
    found = [finding for findings in own.values() for finding in findings if _sameness(finding) not in fuller] + news
    whole = scope.everything and not (request.files_only or request.overrides or request.multirun)
    found = apply(found, list(own), RULES if whole else OF_FILES)
    checked = {"files": sum(file in scope for file in own), "compositions": len(outcomes)}
    told = ordered([*folders.check(), *(finding for finding in found if scope.has(finding))])
    return Report(tuple(told), checked, folders=tuple(map(shown, overlays())))


@dataclass(frozen=True, slots=True)
class _Scope:
    """What findings are wanted of: all files, or those that have changed.

    Attributes:
        files: the files in it.
        others: the rest, as messages show them.
        everything: any composition may be another one than before.
    """

    files: frozenset[File]
    others: frozenset[str] = frozenset()
    everything: bool = True

    @classmethod
    def of(cls, changed: str | None, files: Sequence[File]) -> _Scope:
        if changed is None:
            return cls(frozenset(files))
        paths = changed_since(changed, roots())
        if any(path.suffix == ".yaml" and not path.exists() for path in paths):  # any other file may have named it
            return cls(frozenset(files))
        inside = frozenset(file for file in files if file.path in paths)
        others = frozenset(file.shown for file in files if file not in inside)
        return cls(inside, others, any(file.contract == "config" for file in inside))

    def __contains__(self, file: File) -> bool:
        return file in self.files

    def has(self, finding: Diagnostic) -> bool:
        return finding.location.file not in self.others

    def concerns(self, choice: Choice) -> bool:
        """Whether a changed file may take part in the composition of a choice."""
        from lmroute.validate.variants import is_plain  # noqa: PLC0415  Hydra waits until it is needed

        option = choice.option
        return self.everything or option is None or option in self.files or not is_plain(option)


def _examined(request: Request, files: Sequence[File], scope: _Scope) -> tuple[_Own, list[Outcome]]:
    """The files that were looked at, with what each is told by itself, and what came of the compositions."""
    if not (request.overrides or request.multirun):
        own = {file: check(file) for file in files}
        return own, [] if request.files_only else _sampled(own, scope)
    from lmroute.validate.compositions import asked  # noqa: PLC0415  Hydra waits until it is needed

    outcomes = list(asked(request.overrides, multirun=request.multirun, progress=request.progress))
    taking_part = {file for outcome in outcomes for file in _files_of(outcome, files)}
    return {file: check(file) for file in files if file in taking_part}, outcomes


def _sampled(own: _Own, scope: _Scope) -> list[Outcome]:
    from lmroute.validate.compositions import sampled  # noqa: PLC0415  Hydra waits until it is needed

    choices = sample(list(own), {file for file, findings in own.items() if _keeps_away(file, findings)})
    return list(sampled([choice for choice in choices if scope.concerns(choice)], list(own)))


def _files_of(outcome: Outcome, files: Sequence[File]) -> list[File]:
    if outcome.composition is None:
        return mentioned(files, outcome.overrides)
    sources = {source.file for source in outcome.composition.trace.sources}
    return [file for file in files if file.path in sources]


def _keeps_away(file: File, findings: Iterable[Diagnostic]) -> bool:
    """Whether a file cannot take part in any composition. In config.yaml, another choice stands in for a wrong one."""
    return _unsound(finding for finding in findings if file.contract != "config" or finding.code != "LMR204")


def _unsound(findings: Iterable[Diagnostic]) -> bool:
    return any(finding.code in UNSOUND for finding in findings)


def _news(outcome: Outcome, own: _Own) -> Iterator[Diagnostic]:
    """What a composition shows beyond what its files were told, and what does not merely follow from that."""
    told = {_sameness(finding) for findings in own.values() for finding in findings}
    unsound = [file for file, findings in own.items() if _unsound(findings) and not file.is_policy_test]
    for finding in outcome.findings:
        if not (_follows(finding, unsound) or (_sameness(finding) in told and not finding.related)):
            yield finding


def _follows(finding: Diagnostic, unsound: Sequence[File]) -> bool:
    """Whether a finding goes away with what is wrong with a file by itself."""
    match finding.code:
        case "LMR001":
            return any(file.shown == finding.location.file for file in unsound)
        case "LMR102":  # a profile that its header does not put below `providers`
            return finding.key == "provider" and any(file.shown == finding.location.file for file in unsound)
        case "LMR201":
            if any(file.group == finding.key for file in unsound):  # says which option there is not
                return False
            about = f"{finding.location.override} {finding.key}"
            return any(not finding.location.override or file.name in words_of(about) for file in unsound)
        case _:
            return False


def _sameness(finding: Diagnostic) -> tuple[str, Location, str]:
    """What a finding in a file and in a composition have in common; a key is longer in the composition."""
    return finding.code, finding.location, finding.key.rpartition(".")[2]
