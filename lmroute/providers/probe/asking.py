"""One try: ask a server for its models, and LM Studio for what it alone can tell of them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lmroute.model import AUTO, Locality
from lmroute.providers.inventory import (
    NOTHING,
    PUBLIC,
    SIGNS,
    Inventory,
    ListedModel,
    Listing,
    find,
    looks_like,
    opened,
    take,
)
from lmroute.providers.lmstudio import tokens
from lmroute.providers.probe import surroundings
from lmroute.providers.probe.diagnosis import FAILURES, of_error, of_reply
from lmroute.providers.probe.faults import KINDS, ErrorCode, Fault
from lmroute.providers.probe.result import ProbeResult, sick
from lmroute.providers.probe.states import State
from lmroute.providers.probe.stopwatch import Stopwatch
from lmroute.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.model import Profile, Secret
    from lmroute.providers.inventory import Line

_SHOWN_MODELS = 5
_STRANGE = frozenset({State.MISCONFIGURED, State.AUTH, State.DEGRADED})
_NOBODY_THERE = frozenset({ErrorCode.CONNECTION_REFUSED, ErrorCode.CONNECT_TIMEOUT, ErrorCode.CONNECT_FAILED})


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
    """What came of it, as far as it got. The fault may be one that the server serves in spite of."""

    fault: Fault | None
    inventory: Inventory = NOTHING


def ask(question: Question) -> ProbeResult:
    """Ask once. Never raises for what a server or a network does."""
    profile, watch = question.profile, Stopwatch()
    missing: tuple[str, ...] = ()
    try:
        answer = _asked(question, watch)
    except FAILURES as error:
        answer = _Answer(_with_reasons(of_error(error, watch.fail()), question))
    else:
        models = answer.inventory.models
        if answer.fault is None or models:
            watch.begin("model")
            missing = tuple(name for name in profile.models if find(models, name, profile) is None)
            answer = replace(answer, fault=_model_fault(profile, models, missing) or answer.fault)
            watch.end(failed=bool(missing))
    answer = replace(answer, fault=answer.fault and _told_apart(answer.fault, question, watch))
    latency_ms, phases, inventory = watch.total_ms, watch.phases(), answer.inventory
    if answer.fault is None:
        return ProbeResult(profile.id, State.HEALTHY, phases=phases, latency_ms=latency_ms, inventory=inventory)
    return sick(
        profile,
        answer.fault,
        address=question.address,
        phases=phases,
        latency_ms=latency_ms,
        inventory=inventory,
        missing=missing,
    )


def _asked(question: Question, watch: Stopwatch) -> _Answer:
    profile = question.profile
    with opened(
        profile,
        question.address,
        question.listing,
        question.token,
        total_s=question.total_s,
        resolver=watch.resolve,
    ) as line:
        inventory, reply = take(line, watch.trace)
        if inventory is None:
            fault = of_reply(reply) or Fault(ErrorCode.UNEXPECTED_SHAPE, "the answer is JSON, but no list of models")
            watch.blame(auth=fault.code is ErrorCode.TOKEN_REFUSED)
            return _Answer(with_token_advice(fault, question, reply.status))
        if profile.type in PUBLIC:
            watch.skip("auth")
        watch.end()
        if inventory.is_other:
            return _Answer(_wrong_type(line, inventory), inventory)
        return _Answer(None, inventory)


def _wrong_type(line: Line, inventory: Inventory) -> Fault:
    profile, seems = line.profile, looks_like(line, inventory.models)
    message = f"a server answers there, but it is not {SIGNS[profile.type].name}"
    if seems is None:
        return Fault(ErrorCode.WRONG_TYPE, message)
    return Fault(
        ErrorCode.WRONG_TYPE,
        f"{message}; it looks like {SIGNS[seems].name}",
        fix=f"set providers.{profile.id}.type={seems}, or correct providers.{profile.id}.endpoint",
    )


def _with_reasons(fault: Fault, question: Question) -> Fault:
    """A connection that failed, with what this machine tells about why."""
    if fault.code not in _NOBODY_THERE:
        return fault
    usual = fault.advice(question.profile, question.address)
    return replace(fault, fix=surroundings.advice(question.profile, question.address, usual))


def _told_apart(fault: Fault, question: Question, watch: Stopwatch) -> Fault:
    """A strange answer from one of several addresses of a name near by, with which: another program may listen there.

    Often it is ``localhost``, with the server at 127.0.0.1 and something else at ::1.
    """
    profile = question.profile
    others = [address for address in watch.addresses if address != watch.answering]
    near = profile.locality is not Locality.CLOUD
    if not (near and others and watch.answering and (fault.state or KINDS[fault.code].state) in _STRANGE):
        return fault
    instead = f"{others[0]} may be the server's: write that into providers.{profile.id}.endpoint"
    fix = f"{instead}; else {fault.advice(profile, question.address)}"
    return replace(fault, message=f"{fault.message} (at {watch.answering})", fix=fix)


def with_token_advice(fault: Fault, question: Question, status: int) -> Fault:
    """A refusal of a token, with what is wrong about that one; LM Studio's own words quote a part of it."""
    profile = question.profile
    if fault.code is not ErrorCode.TOKEN_REFUSED:
        return fault
    if profile.type == "lmstudio" and status in tokens.REFUSED:
        why = tokens.refusal(question.token, status, profile)
        return replace(fault, message=f"HTTP {status}: {why.what}", fix=why.advice)
    if question.token is not None:
        return fault
    ref = profile.auth_token
    advice = f"give the token: {ref}" if ref else f"add providers.{profile.id}.auth_token, e.g. {{env: NAME}}"
    return replace(fault, fix=f"no token was sent; {advice}")


def _model_fault(profile: Profile, models: Sequence[ListedModel], missing: Sequence[str]) -> Fault | None:
    if not missing:
        return None
    chats, idle = ([m.id for m in models if m.chats and m.offered is wanted] for wanted in (True, False))
    if not chats and idle:
        message = f"no chat model is loaded, and just-in-time loading is off; on disk: {enumerated(idle)}"
        return Fault(ErrorCode.NO_MODELS, message, fix=f"load one: lmroute models load {idle[0]}")
    if not chats:
        wanted = "" if set(missing) == {AUTO} else f", so not {enumerated(missing)}"
        return Fault(ErrorCode.NO_MODELS, f"it offers no chat model{wanted}")
    return Fault(
        ErrorCode.MODEL_NOT_FOUND,
        f"it does not offer {enumerated(missing)}",
        fix=instead_of(profile, missing[0], chats),
        state=State.DEGRADED if len(missing) < len(profile.models) else None,
    )


def instead_of(profile: Profile, name: str, offered: Sequence[str]) -> str:
    """What to write for a model that the server does not list."""
    longer = [model for model in offered if name.casefold() in model.casefold()]
    near = difflib.get_close_matches(name, offered, n=1) or longer
    field = f"providers.{profile.id}.models"
    get = "load the model there"
    if profile.type == "lmstudio":
        get = f"get '{one_line(name)}': lmroute models download {one_line(name)}"
    if near:
        return f"did you mean '{near[0]}'? Correct {field}, or {get}"
    return f"it offers {enumerated(offered)}; correct {field}, or {get}"


def enumerated(names: Sequence[str]) -> str:
    """The first of some names that a server told, as they may be shown."""
    shown = ", ".join(f"'{one_line(name)}'" for name in names[:_SHOWN_MODELS])
    more = len(names) - _SHOWN_MODELS
    return f"{shown} and {more} more" if more > 0 else shown
