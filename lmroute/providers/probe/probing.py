"""Probe one provider or many: patiently, but not for long."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import anyio.to_thread
from tenacity import RetryCallState, Retrying, wait_exponential

from lmroute import secrets
from lmroute.errors import MissingExtra, SecretError
from lmroute.providers.catalog import TYPES, base_url
from lmroute.providers.inventory import LISTINGS, Api, Inventory
from lmroute.providers.probe.asking import Question, ask
from lmroute.providers.probe.chatting import not_asked, with_chat
from lmroute.providers.probe.faults import KINDS, ErrorCode, Fault
from lmroute.providers.probe.result import ProbeResult, sick
from lmroute.providers.probe.states import State
from lmroute.providers.probe.weights import look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lmroute.model import Profile, Secret, SecretRef

    FindSecret: TypeAlias = Callable[[SecretRef], Secret | None]

_AT_ONCE = 16
_CHANCE = random.Random()  # noqa: S311 - a program's own seeded numbers are not to be drawn by a thread of ours
_SLACK_S = 1.0
"""What a busy machine may add to a probe's bounds."""
_NO_CHAT = {
    "embedded": "the embedded model has no server yet; a call starts it",
    "litellm": "LiteLLM's own engine calls it, which health does not load",
}


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

    @property
    def longest_s(self) -> float:
        """Seconds that a probe without a chat takes at most, whatever the server does."""
        return (1 + self.retries) * self.total_s + self.pause_s * (2.0**self.retries - 1 + self.retries)

    def outlasted(self, seconds: float) -> bool:
        """Whether something took longer than any probe does: its process was stopped, or the machine slept."""
        return seconds > self.longest_s + _SLACK_S


USUAL = Patience()


def probe_all(
    profiles: Iterable[Profile],
    *,
    chat: bool = False,
    secret: FindSecret = secrets.resolve,
    patience: Patience = USUAL,
) -> dict[str, ProbeResult]:
    """``probe`` for many providers at once, by id. One that hangs does not delay the others."""
    wanted = list(profiles)
    with ThreadPoolExecutor(min(_AT_ONCE, len(wanted)) or 1, thread_name_prefix="lmroute probe") as threads:
        found = threads.map(partial(probe, chat=chat, secret=secret, patience=patience), wanted)
        return {result.provider: result for result in found}


async def aprobe(
    profile: Profile, *, chat: bool = False, secret: FindSecret = secrets.resolve, patience: Patience = USUAL
) -> ProbeResult:
    """``probe`` for an event loop, in a worker thread. One that is cancelled is left behind: its deadline ends it."""
    asking = partial(probe, profile, chat=chat, secret=secret, patience=patience)
    return await anyio.to_thread.run_sync(asking, abandon_on_cancel=True)


def probe(
    profile: Profile, *, chat: bool = False, secret: FindSecret = secrets.resolve, patience: Patience = USUAL
) -> ProbeResult:
    """How a provider is, found out with GET requests that cost no token.

    Args:
        chat: whether to have a model answer with a token as well, which costs one, and may load the model.
        secret: finds the profile's token; who probes often hands in one that remembers.
        patience: bounds of each try, and their number; the chat has the profile's ``load_s + total_s``.
    """
    question = _question(profile, secret, patience)
    if isinstance(question, ProbeResult):
        return not_asked(question, _NO_CHAT.get(profile.type, question.message)) if chat else question
    result = _tried(partial(ask, question), patience)
    return with_chat(question, result) if chat else result


def _question(profile: Profile, secret: FindSecret, patience: Patience) -> Question | ProbeResult:
    """What to ask, or what is known without asking."""
    if profile.type == "embedded":
        fault, models = look(profile)
        found = ProbeResult(profile.id, State.HEALTHY, inventory=Inventory(Api.PLAIN, models))
        return sick(profile, fault) if fault else found
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
    return Question(profile, address, listing, token, patience.total_s)


def _tried(once: Callable[[], ProbeResult], patience: Patience) -> ProbeResult:
    """Ask again as long as that may help, and the server did not say that it wants to be left alone for longer."""

    def again(state: RetryCallState) -> bool:
        result: ProbeResult | None = state.outcome.result() if state.outcome else None
        if result is None or result.error_code is None:
            return False
        tries = min(KINDS[result.error_code].tries, 1 + patience.retries)
        return state.attempt_number < tries and (result.retry_after_s or 0.0) <= pause(state)

    pause = wait_exponential(multiplier=patience.pause_s)
    retrying = Retrying(retry=again, wait=lambda state: pause(state) + _CHANCE.uniform(0, patience.pause_s))
    return replace(retrying(once), tries=retrying.statistics["attempt_number"])
