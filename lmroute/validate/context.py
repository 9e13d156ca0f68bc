"""What a rule looks at: one file by itself, or one composed configuration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lmroute.config import decode
from lmroute.config.keypaths import dotted, undotted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmroute.config.compose import Composition
    from lmroute.config.keypaths import KeyPath
    from lmroute.config.provenance import Locate
    from lmroute.diagnostics import Diagnostic
    from lmroute.model import Profile, Rule, TaskSpec

RULES_PATH = ("routing", "rules")
"""Where the rules of the policy stand in the document."""


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
    def all_rules(self) -> bool:
        """Whether every rule of the policy could be read."""
        return self._readable(*RULES_PATH)

    @cached_property
    def all_providers(self) -> bool:
        """Whether every selected profile could be read, and none lies where its header did not put it."""
        return self._readable("providers") and self._readable("provider")

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
        return not any(_meet(told, other) for other in self.unreadable)


def _meet(one: KeyPath, other: KeyPath) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]
