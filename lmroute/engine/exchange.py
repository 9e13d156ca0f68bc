"""One request and its answer on the wire: how long to wait for what, and what was learned.

lm15 knows nothing of our clocks, so the request that a native engine is about to send finds its ``Exchange`` in a
context variable.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dspy import lm15

from lmroute import redact
from lmroute.engine.verdicts import own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.engine.replies import Mending
    from lmroute.providers.dialing import Patience

_WHATEVER_AN_ANSWER_BREAKS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(slots=True)
class Exchange:
    """One request and what is learned from its answer.

    Attributes:
        streams: whether an event stream is asked for: only there the first byte and silence have bounds of their own.
        keyless: whether the server is to get no token.
        needs_choices: whether the dialect's answer must hold ``choices`` (OpenAI chat).
        mending: by what an answer of LM Studio is mended; ``None`` for other servers.
        answered: the model that the answer names first; empty until it is known.
        replied: whether an answer has begun.
        echoes: whether a key stands in it: servers tell what they were sent.
        wait_until: the ``time.monotonic()`` value until which the next bytes are waited for.
    """

    patience: Patience
    streams: bool = False
    keyless: bool = False
    needs_choices: bool = False
    mending: Mending | None = None
    answered: str = field(default="", repr=False)  # the server's word, which tracebacks may show
    replied: bool = False
    echoes: bool = False
    wait_until: float = field(init=False)

    def __post_init__(self) -> None:
        self._wait(self.patience.first_byte_s)

    def heard(self) -> None:
        """Some of the body came in; the next bytes may take the idle time."""
        self._wait(self.patience.idle_s)

    def read(self, body: bytes) -> bytes:
        """What was read of the body, looked through for keys."""
        self.echoes = self.echoes or redact.is_in(body)
        return body

    def _wait(self, seconds: float) -> None:
        deadline = self.patience.deadline
        self.wait_until = min(deadline, time.monotonic() + seconds) if self.streams else deadline


_ENDED_EARLY = "ended without"
"""What DSPy's engines and lm15 say of a stream that broke off, all three of them in a sentence of their own."""
_current: ContextVar[Exchange] = ContextVar("lmroute_exchange")


def current() -> Exchange:
    """The exchange that a request which is sent now belongs to."""
    return _current.get()


@contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """Have the request that is sent inside belong to ``exchange``."""
    token = _current.set(exchange)
    try:
        with understood(exchange):
            yield
    finally:
        _current.reset(token)


@contextmanager
def understood(exchange: Exchange) -> Iterator[None]:
    """Once an answer has begun, what lm15's reading of it trips over is a bad reply and no bug."""
    try:
        yield
    except lm15.LM15Error as error:  # first, as lm15's TimeoutError is a builtin error as well
        if isinstance(error, lm15.StreamAssemblyError) and _ENDED_EARLY in error.message:
            own(error, "the stream ended early")
        raise
    except _WHATEVER_AN_ANSWER_BREAKS as error:
        if not exchange.replied:
            raise
        kind = type(error).__name__
        raise own(lm15.ProviderError(f"malformed answer ({kind}: {error})"), f"malformed answer ({kind})") from error
