"""The words that ``errorCode`` has, of health and of calls: what each means, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.health.evidence import counts, of_failure
from lmroute.model import Failure
from lmroute.providers.probe.faults import KINDS, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLACES = {
    "id": "ID", "endpoint": "its address", "start": "start the server", "load": "load a chat model there",
}  # fmt: skip
_OF_REQUESTS = {
    Failure.UNSUPPORTED_FEATURE: (
        "the server or model cannot do what the request needs",
        "name a model that can, or correct the capabilities in its profile",
    ),
    Failure.CONTEXT_LENGTH: (
        "the prompt and the answer do not fit into the model's window",
        "shorten the prompt, ask for fewer tokens, or add a candidate with a larger window",
    ),
    Failure.INVALID_REQUEST: (
        "the request itself is wrong, so nobody else was asked",
        "correct the request; the message of the attempt tells what is wrong: lmroute logs --call ID",
    ),
    Failure.GUARANTEE: (
        "a guarantee of the policy forbids to ask any that is left",
        "see who was dropped, and why: lmroute logs --call ID",
    ),
    "no_candidate": (
        "nobody was left to be asked",
        "see who was dropped, and why: lmroute logs --call ID",
    ),
    "cancelled": ("the program gave the call up before it was answered", ""),
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a word means ``of`` health or of calls; ``fix`` is empty where there is nothing to do."""

    code: str
    of: str
    summary: str
    fix: str


def meanings(word: str) -> Iterator[Meaning]:
    """What a word means; some are of both."""
    code = word.lower()
    if code in set(ErrorCode):
        kind = KINDS[ErrorCode(code)]
        summary = f"a server of which this is found is told to be {kind.state}"
        yield Meaning(code, "health", summary, kind.fix.format_map(_PLACES))
    if code in _OF_REQUESTS:
        yield Meaning(code, "calls", *_OF_REQUESTS[code])
    elif code in set(Failure) and counts(Failure(code)):
        seen = of_failure(Failure(code), began=0, ended=0, at=0)
        yield Meaning(code, "calls", seen.message, seen.fix)
