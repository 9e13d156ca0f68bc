"""A whole validated configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lmroute.model.observing import Health, Telemetry
from lmroute.model.request import Privacy

if TYPE_CHECKING:
    from lmroute.model.policy import Policy
    from lmroute.model.provider import Profile


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What ``run.py`` is to do.

    Attributes:
        name: a task of ``lmroute.experiments.tasks``.
        data: CSV file, or ``None`` for a task that needs none (``ask``).
        limit: at most so many rows; ``None`` means all.
        question: the question of ``ask``.
        threads: calls at once.
        max_tokens: answer length bound.
        privacy, tags: request attributes of every call.
    """

    name: str
    data: str | None = None
    limit: int | None = None
    question: str | None = None
    threads: int = 1
    max_tokens: int = 128
    privacy: Privacy = Privacy.INTERNAL
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Stack:
    """A whole validated configuration.

    Attributes:
        providers: selected profiles by id, in the order they were selected.
        seed: of everything random in an experiment: which rows are taken, and what servers are sent.
        document: the composed configuration this was decoded from, JSON-able, free of secrets.
        overrides: the command line it was composed for; ``None`` when it was not composed from files.
    """

    providers: dict[str, Profile]
    policy: Policy
    task: TaskSpec
    adapter: str = "auto"
    seed: int = 0
    telemetry: Telemetry = field(default_factory=Telemetry)
    health: Health = field(default_factory=Health)
    document: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    overrides: tuple[str, ...] | None = field(default=None, repr=False, compare=False)
