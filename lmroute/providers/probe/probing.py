"""Probe one provider or many: patiently, but not for long."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from tenacity import RetryCallState, Retrying, wait_exponential, wait_random

from lmroute import secrets
from lmroute.errors import MissingExtra, SecretError
from lmroute.providers.catalog import TYPES, base_url
from lmroute.providers.inventory import LISTINGS, Api, Inventory
from lmroute.providers.probe.asking import Question, ask
from lmroute.providers.probe.faults import KINDS, ErrorCode, Fault
from lmroute.providers.probe.result import ProbeResult, sick
from lmroute.providers.probe.states import State
from lmroute.providers.probe.weights import look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lmroute.model import Profile, Secret, SecretRef

    FindSecret: TypeAlias = Callable[[SecretRef], Secret | None]

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a probe may take.

    Attributes:
        total_s: one try, whatever the server does.
        retries: more tries after the first, for faults that may be over in a moment.
        pause_s: before the first retry; it doubles, and up to as much is added at random.
    """

    total_s: float = 2.0
    retries: int = 2
    pause_s: float = 0.1


USUAL = Patience()


def probe_all(
    profiles: Iterable[Profile], *, secret: FindSecret = secrets.resolve, patience: Patience = USUAL
) -> dict[str, ProbeResult]:
    """``probe`` for many providers at once, by id. One that hangs does not delay the others."""
    wanted = list(profiles)
    with ThreadPoolExecutor(min(_AT_ONCE, len(wanted)) or 1, thread_name_prefix="lmroute probe") as threads:
        found = threads.map(partial(probe, secret=secret, patience=patience), wanted)
        return {result.provider: result for result in found}


def probe(profile: Profile, *, secret: FindSecret = secrets.resolve, patience: Patience = USUAL) -> ProbeResult:
    """How a provider is, found out with GET requests that cost no token.

    Args:
        secret: finds the profile's token; who probes often hands in one that remembers.
        patience: bounds of each try, and their number.
    """
    if profile.type == "embedded":
        fault, models = look(profile)
        return (
            sick(profile, fault)
            if fault
            else ProbeResult(profile.id, State.HEALTHY, inventory=Inventory(Api.PLAIN, models))
        )
    try:
        token = secret(profile.auth_token) if profile.auth_token else None
    except (SecretError, MissingExtra) as error:
        return sick(profile, Fault(ErrorCode.TOKEN_MISSING, str(error)))
    listing = LISTINGS.get(TYPES[profile.type].dialect)
    if listing is None:
        message = "not asked: LiteLLM offers no list of models, and a call would cost tokens"
        return sick(profile, Fault(ErrorCode.NO_LIST, message))
    try:
        address = base_url(profile)
        address.encode("ascii")
    except ValueError as error:
        return sick(profile, Fault(ErrorCode.BAD_ENDPOINT, str(error)))
    return _tried(partial(ask, Question(profile, address, listing, token, patience.total_s)), patience)


def _tried(once: Callable[[], ProbeResult], patience: Patience) -> ProbeResult:
    """Ask again as long as that may help."""

    def again(state: RetryCallState) -> bool:
        code = state.outcome.result().error_code if state.outcome else None
        return code is not None and state.attempt_number < min(KINDS[code].tries, 1 + patience.retries)

    pause = wait_exponential(multiplier=patience.pause_s) + wait_random(0, patience.pause_s)
    retrying = Retrying(retry=again, wait=pause)
    return replace(retrying(once), tries=retrying.statistics["attempt_number"])
