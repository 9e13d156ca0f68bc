"""One try: ask a server for its models, and LM Studio for what it alone can tell of them."""

from __future__ import annotations

import difflib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lmroute.providers import dialing
from lmroute.providers.catalog import TYPES, server_root
from lmroute.providers.http import OK_STATUSES, Reply, read_json
from lmroute.providers.probe.diagnosis import FAILURES, message_of, of_error, of_reply
from lmroute.providers.probe.faults import ErrorCode, Fault, one_line
from lmroute.providers.probe.listing import NATIVE, PUBLIC, ListedModel, Listing, find, with_details
from lmroute.providers.probe.result import ProbeResult, sick
from lmroute.providers.probe.states import State
from lmroute.providers.probe.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpcore

    from lmroute.model import Profile, Secret

_SHOWN_MODELS = 5
_PROVES_NOTHING = frozenset(
    {ErrorCode.SERVER_ERROR, ErrorCode.MODEL_LOADING, ErrorCode.RATE_LIMITED, ErrorCode.TOKEN_REFUSED}
)
"""Answers that any server may give at any path."""


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that a try needs to know. ``address`` is the base URL; ``total_s`` bounds the try, in seconds."""

    profile: Profile
    address: str
    listing: Listing
    token: Secret | None
    total_s: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of it, as far as it got."""

    fault: Fault | None
    models: Sequence[ListedModel] = ()


def ask(question: Question) -> ProbeResult:
    """Ask once. Never raises for what a server or a network does."""
    profile, watch = question.profile, Stopwatch()
    missing: tuple[str, ...] = ()
    try:
        answer = _listed(question, watch)
    except FAILURES as error:
        answer = _Answer(of_error(error, watch.fail()))
    else:
        if answer.fault is None or answer.models:
            watch.begin("model")
            missing = tuple(name for name in profile.models if find(answer.models, name, profile) is None)
            answer = _Answer(_model_fault(profile, answer.models, missing) or answer.fault, answer.models)
            watch.end(failed=bool(missing))
    latency_ms, phases, models = watch.total_ms, watch.phases(), tuple(answer.models)
    if answer.fault is None:
        return ProbeResult(profile.id, State.HEALTHY, phases=phases, latency_ms=latency_ms, models=models)
    return sick(
        profile,
        answer.fault,
        address=question.address,
        phases=phases,
        latency_ms=latency_ms,
        models=models,
        missing=missing,
    )


def _listed(question: Question, watch: Stopwatch) -> _Answer:
    """The models that the server offers; the fault may be one that it serves in spite of."""
    profile, listing = question.profile, question.listing
    with (
        dialing.until(time.monotonic() + question.total_s),
        dialing.pool(question.address, profile.locality, watch.resolve) as pool,
    ):
        reply = _get(pool, question, question.address + listing.path, watch)
        # An "error" beside a list is no error: some servers always send one, and it is null.
        models = listing.read(reply.body) if reply.status in OK_STATUSES else None
        if models is None:
            fault = of_reply(reply) or Fault(ErrorCode.UNEXPECTED_SHAPE, "the answer is JSON, but no list of models")
            watch.blame(auth=fault.code is ErrorCode.TOKEN_REFUSED)
            return _Answer(_with_token_advice(fault, question))
        if profile.type in PUBLIC:
            watch.skip("auth")
        answer = _detailed(pool, question, models) if profile.type == "lmstudio" else _Answer(None, models)
        watch.end()
        return answer


def _with_token_advice(fault: Fault, question: Question) -> Fault:
    """A refusal of a request that carried no token is mended by giving one."""
    profile = question.profile
    if fault.code is not ErrorCode.TOKEN_REFUSED or question.token is not None:
        return fault
    ref = profile.auth_token
    advice = f"give the token: {ref}" if ref else f"add providers.{profile.id}.auth_token, e.g. {{env: NAME}}"
    return replace(fault, fix=f"no token was sent; {advice}")


def _get(pool: httpcore.ConnectionPool, question: Question, url: str, watch: Stopwatch | None = None) -> Reply:
    return read_json(
        pool,
        url,
        headers=question.listing.headers_with(question.token),
        connect_s=min(question.profile.timeouts.connect_s, question.total_s),
        total_s=question.total_s,
        trace=watch.trace if watch else None,
    )


def _detailed(pool: httpcore.ConnectionPool, question: Question, offered: list[ListedModel]) -> _Answer:
    """What is offered, with what the newest native list that there is tells of it."""
    root, is_lmstudio = server_root(question.address, TYPES["lmstudio"]), False
    for native in NATIVE:
        try:
            reply = _get(pool, question, root + native.path)
        except FAILURES:
            # The list that matters is there already. Details are a gift, and a server that hangs here is not asked on.
            return _Answer(None, offered)
        details = native.details(reply.body) if reply.status in OK_STATUSES else None
        if details is not None:
            return _Answer(None, with_details(offered, details))
        if (fault := of_reply(reply)) and fault.code in _PROVES_NOTHING:
            return _Answer(None, offered)
        # LM Studio before 0.3.6 has no native list, but its own words for an unknown path.
        is_lmstudio = "unexpected endpoint" in message_of(reply.body).lower()
    if is_lmstudio:
        return _Answer(None, offered)
    return _Answer(Fault(ErrorCode.WRONG_TYPE, "a server answers there, but it is not LM Studio"), offered)


def _model_fault(profile: Profile, models: Sequence[ListedModel], missing: Sequence[str]) -> Fault | None:
    chats = [model.id for model in models if model.chats]
    if not missing:
        return None
    if not chats:
        return Fault(ErrorCode.NO_MODELS, "it offers no chat model")
    return Fault(
        ErrorCode.MODEL_NOT_FOUND,
        f"it does not offer {_enumerated(missing)}",
        fix=instead_of(profile, missing[0], chats),
        state=State.DEGRADED if len(missing) < len(profile.models) else None,
    )


def instead_of(profile: Profile, name: str, offered: Sequence[str]) -> str:
    """What to write for a model that the server does not list."""
    longer = [model for model in offered if name.casefold() in model.casefold()]
    near = difflib.get_close_matches(name, offered, n=1) or longer
    field = f"providers.{profile.id}.models"
    if near:
        return f"did you mean '{near[0]}'? Correct {field}, or load the model there"
    return f"it offers {_enumerated(offered)}; correct {field}, or load the model there"


def _enumerated(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{one_line(name)}'" for name in names[:_SHOWN_MODELS])
    more = len(names) - _SHOWN_MODELS
    return f"{shown} and {more} more" if more > 0 else shown
