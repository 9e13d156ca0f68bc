"""Health and compatibility as diagnostics: ``lmroute validate --live``.

    results = probe_all(to_probe(stack))
    for diagnostic in check(stack, locate, results): ...
    for verdict in verdicts(stack, results): print(verdict)

Something wrong is an error when it leaves a rule without any candidate that serves, else a warning that says who
serves instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.diagnostics import Diagnostic, Severity
from lmroute.health import promises
from lmroute.health.standing import ABOUT_MODELS, RuleVerdict, is_missing, to_probe, verdicts
from lmroute.providers.probe import SERVING, ErrorCode, ProbeResult, State, instead_of, probe_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lmroute.config.provenance import Locate
    from lmroute.model import Candidate, Profile, Stack

__all__ = ["check", "to_probe", "verdicts"]

_BY_STATE = {
    State.DOWN: ("LMR501", "endpoint"),
    State.AUTH: ("LMR502", "auth_token"),
    State.MISCONFIGURED: ("LMR506", "endpoint"),
    State.BLOCKED: ("LMR506", "locality"),
    State.THROTTLED: ("LMR507", "endpoint"),
    State.DEGRADED: ("LMR507", "endpoint"),
}
"""Code, and the field of the profile that it is about."""

_BY_ERROR = {
    ErrorCode.WRONG_TYPE: ("LMR506", "type"),
    ErrorCode.WEIGHTS_UNUSABLE: ("LMR506", "model_path"),
}
"""Where the error tells more than the state."""


def check(stack: Stack, locate: Locate, results: Mapping[str, ProbeResult] | None = None) -> Iterator[Diagnostic]:
    """Everything that is wrong with the servers that some rule can reach.

    Args:
        results: probes by provider id; ``None`` means to probe now.
    """
    if results is None:
        results = probe_all(to_probe(stack))
    rules = verdicts(stack, results)
    for profile in to_probe(stack):
        if result := results.get(profile.id):
            yield from _Checked(profile, result, rules, locate).diagnostics()


class _Checked:
    """One provider, its probe, and the rules that count on it."""

    def __init__(self, profile: Profile, result: ProbeResult, rules: Iterable[RuleVerdict], locate: Locate) -> None:
        self._profile = profile
        self._result = result
        self._locate = locate
        self._rules = {
            verdict: [s.candidate for s in verdict.standings if s.candidate.provider == profile.id] for verdict in rules
        }
        self._candidates = dict.fromkeys(candidate for mine in self._rules.values() for candidate in mine)

    def diagnostics(self) -> Iterator[Diagnostic]:
        """What there is to say about it."""
        for candidate in self._candidates:
            if is_missing(candidate, self._profile, self._result):
                yield self._not_offered(candidate)
        if self._result.state in _BY_STATE and self._result.error_code not in ABOUT_MODELS:
            yield self._sick()
        names = [candidate.model for candidate in self._candidates]
        for found in promises.broken(self._profile, names, self._result.inventory):
            yield self._finding(found.code, found.path, found.message, found.advice)

    def _sick(self) -> Diagnostic:
        result = self._result
        code, field = _BY_STATE[result.state]
        if result.error_code in _BY_ERROR:
            code, field = _BY_ERROR[result.error_code]
        lost = () if result.state in SERVING else self._candidates
        return self._finding(code, (field,), result.message, result.fix, lost)

    def _not_offered(self, candidate: Candidate) -> Diagnostic:
        models, name = self._profile.models, candidate.model
        path = ("models", str(models.index(name))) if name in models else ("models",)
        offered = [model.id for model in self._result.models if model.chats and model.offered]
        if said := promises.why_not(self._profile, name, self._result.models):
            return self._finding("LMR503", path, *said, [candidate])
        if not offered:
            return self._finding("LMR503", path, "the server offers no chat model", self._result.fix, [candidate])
        advice = instead_of(self._profile, name, offered)
        return self._finding("LMR503", path, f"the server does not offer '{name}'", advice, [candidate])

    def _finding(
        self, code: str, path: tuple[str, ...], message: str, advice: str, lost: Iterable[Candidate] = ()
    ) -> Diagnostic:
        """A finding about a field of the profile, or about the whole profile where that field is not set.

        Args:
            lost: the candidates that do not serve because of it.
        """
        is_set = getattr(self._profile, path[0]) is not None
        key = ("providers", self._profile.id, *(path if is_set else ()))
        consequence, severity = self._consequence(set(lost))
        return Diagnostic(code, message + consequence, self._locate(key), ".".join(key), advice, severity)

    def _consequence(self, lost: set[Candidate]) -> tuple[str, Severity]:
        """What becomes of the rules that count on candidates which do not serve, and how bad that is."""
        hit = [verdict for verdict, mine in self._rules.items() if not lost.isdisjoint(mine)]
        if broken := [verdict.rule for verdict in hit if not verdict.serving]:
            return f"; {_rules(broken)} no candidate that serves", Severity.ERROR
        instead: dict[str, list[str]] = {}
        for verdict in hit:
            instead.setdefault(str(verdict.serving[0]), []).append(verdict.rule)
        served = "".join(f"; {_rules(names, 'is', 'are')} served by {who}" for who, names in instead.items())
        return served, Severity.WARNING


def _rules(names: list[str], one: str = "has", many: str = "have") -> str:
    listed = ", ".join(f"'{name}'" for name in names)
    return f"rule {listed} {one}" if len(names) == 1 else f"rules {listed} {many}"
