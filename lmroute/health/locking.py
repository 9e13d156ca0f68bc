"""Find out what there is to lock: probe the servers, then ask LM Studio which of its APIs it has.

    taken = take(askable(stack), names(stack), now)
    taken.found["lmstudio"], taken.silent

What is sent costs no token and loads nothing: lists, and empty requests to LM Studio that only a server without such
a path does not complain about. It writes a line into its own log for each of these.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lmroute import secrets
from lmroute.lock import Instance, Kind, LockedModel, LockedProvider, address
from lmroute.providers.catalog import TYPES, base_url
from lmroute.providers.http import WIRE_ERRORS, Reply, Unreadable, message_of
from lmroute.providers.inventory import LISTINGS, Inventory, find, opened
from lmroute.providers.probe import ProbeResult, probe_all
from lmroute.routing.policy import compile_policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lmroute.model import Profile, Stack
    from lmroute.providers.inventory import Line, ListedModel

PATHS: tuple[tuple[str, dict[str, Any] | None], ...] = (
    ("/v1/models", None),
    ("/api/v0/models", None),
    ("/api/v1/models", None),
    ("/v1/responses", {}),
    ("/v1/messages", {}),
    ("/api/v1/chat", {}),
)
"""LM Studio's paths that came with one release or another, and what is sent there: with a body it is a POST."""

_TOTAL_S = 5.0
_ABSENT = frozenset({404, 405, 501})
_TELLS_NOTHING = frozenset({401, 403, 408, 425, 429, *range(500, 600)})


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking, by provider id.

    Attributes:
        found: those that told what they have.
        silent: those that did not, with the result of the probe.
        unreadable: those that told no more than names, because their own list could not be read, with the reason.
    """

    found: dict[str, LockedProvider]
    silent: dict[str, ProbeResult]
    unreadable: dict[str, str]


def askable(profiles: Iterable[Profile]) -> list[Profile]:
    """The enabled ones that have a server which lists its models; the embedded model comes with lmroute."""
    return [p for p in profiles if p.enabled and p.type != "embedded" and TYPES[p.type].dialect in LISTINGS]


def names(stack: Stack) -> dict[str, tuple[str, ...]]:
    """By provider, the models that its profile or the policy names, ``auto`` among them."""
    rules = compile_policy(stack.policy, stack.providers).rules
    candidates = [option.candidate for rule in rules for option in rule.options]
    return {
        name: tuple(dict.fromkeys([*profile.models, *(c.model for c in candidates if c.provider == name)]))
        for name, profile in stack.providers.items()
    }


def take(profiles: Sequence[Profile], asked: Mapping[str, Iterable[str]], at: datetime) -> Taken:
    """Ask all servers at once. Raises nothing for what a server or a network does.

    Args:
        asked: by provider, the names of which the lock is to say who answers to them.
    """
    results = probe_all(profiles)
    unreadable = {name: r.inventory.problem for name, r in results.items() if r.listed and r.inventory.problem}
    told = [profile for profile in profiles if results[profile.id].listed and profile.id not in unreadable]
    with ThreadPoolExecutor(len(told) or 1, thread_name_prefix="lmroute lock") as threads:
        paths = dict(zip((profile.id for profile in told), threads.map(_paths, told), strict=True))
    when = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = {
        profile.id: replace(_locked(profile, results[profile.id], asked[profile.id], when), paths=paths[profile.id])
        for profile in told
    }
    silent = {name: result for name, result in results.items() if not result.listed}
    return Taken(found, silent, unreadable)


def _locked(profile: Profile, result: ProbeResult, asked: Iterable[str], taken: str) -> LockedProvider:
    answering = {name: find(result.models, name, profile) for name in asked}
    return LockedProvider(
        type=profile.type,
        taken=taken,
        endpoint=address(profile.endpoint),
        api=result.api.value,
        state=result.state.value,
        error_code=result.error_code and result.error_code.value,
        loads_on_demand=Inventory(result.api, result.models).loads_on_demand,
        models=tuple(_models(result.models)),
        answers={name: model.id if model else None for name, model in answering.items()},
        loaded=tuple(
            Instance(model.id, model.key, model.context_window, model.parallel)
            for model in result.models
            if model.loaded and _is_instance(model, result.models)
        ),
    )


def _models(listed: Sequence[ListedModel]) -> Iterator[LockedModel]:
    """Each model once, whatever its instances are called."""
    for key, model in {model.key: model for model in reversed(listed)}.items():
        yield LockedModel(
            id=key,
            kind=_kind(model),
            context_window=model.context_window if model.loaded is None else None,
            max_context_window=model.max_context_window,
            tools=model.tools,
            vision=model.vision,
            reasoning=model.reasoning,
            quantization=model.quantization,
            format=model.format,
        )


def _kind(model: ListedModel) -> Kind:
    if model.chats:
        return Kind.CHAT
    # Whoever tells what is loaded tells types; elsewhere a name with "embed" in it proves nothing.
    return Kind.OTHER if model.loaded is None else Kind.EMBEDDING


def _is_instance(model: ListedModel, listed: Sequence[ListedModel]) -> bool:
    """Whether it is loaded itself: a key is told as loaded when an instance of another name is."""
    return bool(model.of) or not any(other.of == model.id for other in listed)


def _paths(profile: Profile) -> dict[str, bool | None]:
    """Which of ``PATHS`` an LM Studio has; of other types nothing is known that would tell."""
    if profile.type != "lmstudio":
        return {}
    token = secrets.resolve(profile.auth_token) if profile.auth_token else None
    listing = LISTINGS[TYPES[profile.type].dialect]
    with opened(profile, base_url(profile), listing, token, total_s=_TOTAL_S) as line:
        return {path: _has(line, path, body) for path, body in PATHS}


def _has(line: Line, path: str, body: dict[str, Any] | None) -> bool | None:
    try:
        return _is_there(line.ask_root(path, body))
    except (*WIRE_ERRORS, Unreadable):
        return None


def _is_there(reply: Reply) -> bool | None:
    """Whether an answer comes from a path that exists: it may well refuse what was sent."""
    if reply.status in _TELLS_NOTHING:
        return None
    # LM Studio's 404 is a 200 with these words; see lmroute.providers.inventory.lmstudio.
    return reply.status not in _ABSENT and "unexpected endpoint" not in message_of(reply.body).lower()
