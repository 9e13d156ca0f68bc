"""What a rule looks at: one file by itself, or one composed configuration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lmroute.config import decode
from lmroute.config.keypaths import dotted, undotted
from lmroute.lock.file import place, read
from lmroute.routing.policy import CALLER_CHOICE, DEFAULT
from lmroute.validate.rules import fallbacks, names, policies, predicates, references
from lmroute.validate.written import POLICY, RULES_PATH, Written, meet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmroute.config.compose import Composition
    from lmroute.config.keypaths import KeyPath
    from lmroute.config.provenance import Locate
    from lmroute.diagnostics import Diagnostic
    from lmroute.lock.file import Reading
    from lmroute.model import Policy, Profile, Rule, TaskSpec, Use


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate that a policy names, or a selector of some.

    Attributes:
        owner: whose it is, as messages say it: ``rule 'private'``, ``default``, ``caller_choice``.
        among: where the list stands that it is in, at ``index``.
    """

    owner: str
    among: KeyPath
    index: int
    use: Use

    @property
    def path(self) -> KeyPath:
        """Where it stands itself."""
        return (*self.among, str(self.index))


@dataclass(frozen=True)
class Context:
    """A composed configuration, as far as it keeps to the schemas.

    What has a schema finding is left out, so that one broken profile does not hide what is wrong with the next:
    rules judge what is there, and say nothing that the missing part could change.

    Attributes:
        unreadable: the keys that schema findings are about.
    """

    composition: Composition
    unreadable: frozenset[KeyPath]

    @classmethod
    def of(cls, composition: Composition, broken: Iterable[Diagnostic]) -> Context:
        """The context of a composition that has these schema findings."""
        return cls(composition, frozenset(undotted(finding.key) for finding in broken))

    @property
    def document(self) -> dict[str, Any]:
        """The composed document itself."""
        return self.composition.document

    @property
    def locate(self) -> Locate:
        """Says where each key of the document was set."""
        return self.composition.locate

    @cached_property
    def selected(self) -> tuple[str, ...]:
        """The ids of all selected profiles, readable or not, in their order."""
        providers = self.document.get("providers")
        return tuple(map(str, providers)) if isinstance(providers, dict) else ()

    @cached_property
    def providers(self) -> dict[str, Profile]:
        """The profiles that can be read, in the order they were selected."""
        return {
            name: decode.profile(self.document["providers"][name])
            for name in self.selected
            if self._readable("providers", name)
        }

    @cached_property
    def rules(self) -> dict[KeyPath, Rule]:
        """The rules of the policy that can be read, by their path in the document, in the order of the file."""
        paths = (((*RULES_PATH, str(index)), raw) for index, raw in enumerate(self._listed_rules()))
        return {path: decode.rule(raw) for path, raw in paths if self._readable(*path)}

    @cached_property
    def written(self) -> Written | None:
        """The policy as it is written; None when it is no mapping."""
        raw = self.document.get(POLICY)
        return Written(raw, (POLICY,), self.locate, self.unreadable) if isinstance(raw, dict) else None

    @cached_property
    def policy(self) -> Policy | None:
        """The policy, if it can be compiled for ``providers`` and means what it says.

        None when any of it or of the selected profiles cannot be read, when it names what is not there, or when its
        predicates have a finding of their own: what else could be said of it would follow from that.
        """
        identified = all(profile.id == name for name, profile in self.providers.items())
        whole = self.all_providers and identified and self._readable(POLICY)
        return decode.policy(self.document[POLICY]) if whole and self._means_something else None

    @property
    def _means_something(self) -> bool:
        judges = (names.unique, fallbacks.dangling, fallbacks.circular, references.names, references.tags)
        loose = any(any(judge(self)) for judge in (*judges, policies.some_choice))
        return not loose and predicates.are_sound(self)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The candidates that the policy names or selects, as far as they can be read."""
        found = [(f"rule '{rule.name}'", (*path, "use"), rule.use) for path, rule in self.rules.items()]
        routing = self.written.raw if self.written else {}
        default, choice = routing.get(DEFAULT), routing.get(CALLER_CHOICE)
        if default and self._readable(POLICY, DEFAULT):
            found.append((DEFAULT, (POLICY, DEFAULT), decode.rule({"name": DEFAULT, "use": default}).use))
        if choice and self._readable(POLICY, CALLER_CHOICE):
            rule = decode.rule({"name": CALLER_CHOICE, **choice})
            found.append((CALLER_CHOICE, (POLICY, CALLER_CHOICE, "use"), rule.use))
        return tuple(Entry(owner, path, index, use) for owner, path, uses in found for index, use in enumerate(uses))

    @cached_property
    def all_entries(self) -> bool:
        """Whether every list of candidates could be read."""
        return all(self._readable(POLICY, key) for key in ("rules", DEFAULT, CALLER_CHOICE))

    @cached_property
    def all_providers(self) -> bool:
        """Whether every selected profile could be read, and none lies where its header did not put it."""
        return self._readable("providers") and self._readable("provider")

    @cached_property
    def locked(self) -> Reading | None:
        """What the servers were found to be; None where nobody has locked that."""
        return read(place())

    @cached_property
    def task(self) -> TaskSpec | None:
        """The task, if it can be read."""
        return decode.task(self.document["task"]) if self._readable("task") else None

    def _listed_rules(self) -> list[Any]:
        routing = self.document.get("routing")
        listed = routing.get("rules") if isinstance(routing, dict) else None
        return listed if isinstance(listed, list) else []

    def _readable(self, *path: str) -> bool:
        """Whether nothing at, below or above a path has a finding."""
        told = undotted(dotted(path))  # as a finding's key tells it: a name may have dots and brackets of its own
        return not any(meet(told, other) for other in self.unreadable)
