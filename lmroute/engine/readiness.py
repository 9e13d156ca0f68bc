"""Get a provider ready to be called: its address, its token, the model that ``auto`` stands for.

Ready means nothing was sent yet that costs anything. What was found is kept until ``forget``, which the engine calls
when a call shows that it is no longer so (server gone, model unloaded).
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from dspy import lm15

from lmroute import secrets
from lmroute.engine.live.learnt import Learnt
from lmroute.engine.stock import Stock, Target
from lmroute.engine.verdicts import NotReadyError, own
from lmroute.errors import LmrouteError, MissingExtra, ModelMissing, SecretError, ServerUnreachable, TokenRefused
from lmroute.forks import Locked
from lmroute.model import Candidate
from lmroute.providers import catalog, dialing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmroute.model import Profile, Secret
    from lmroute.providers.embedded import Fetch

T = TypeVar("T")
OnFetch: TypeAlias = "Callable[[Fetch], None]"
"""Told how far the fetch of the embedded weights is, while one is under way."""

_SETTLING, _SETTLING_S = 0.25, 1.0
"""A question that failed is not asked again for this part of the time it took, and no longer than that many seconds:
those who waited for their turn at the host meanwhile would wait for the same silence, one after the other."""
_EMBEDDED_WINDOW = 4096  # tokens; enough for prompts of a page, small enough for any machine

_AS_LM15: tuple[tuple[type[LmrouteError], type[lm15.LM15Error]], ...] = (
    (SecretError, lm15.NotConfiguredError),
    (MissingExtra, lm15.NotConfiguredError),
    (ServerUnreachable, lm15.TransportError),
    (TokenRefused, lm15.AuthError),
    (ModelMissing, lm15.UnsupportedModelError),
    (LmrouteError, NotReadyError),
)


@dataclass(frozen=True, slots=True)
class _Failed:
    """A question that came to nothing.

    Attributes:
        about: what was asked for.
        until: who comes until then, on the monotonic clock, has waited for it: for the lock, or for a turn at the host.
    """

    about: str
    until: float
    kind: type[lm15.LM15Error]
    says: str

    def answers(self, about: str, came: float) -> bool:
        """Whether somebody who came at this time need not ask; a silent server is silent about all of its models."""
        return came <= self.until and (self.about == about or self.kind is lm15.TransportError)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a provider is and how to get in.

    Attributes:
        address: base URL with its API path; empty where LiteLLM knows it.
    """

    address: str
    token: Secret | None


class Server(Protocol):
    """What a started embedded model offers (``lmroute.providers.embedded.EmbeddedServer``)."""

    base_url: str
    api_key: Secret
    context_window: int

    def close(self) -> None:
        """Let go of it; the last holder ends the process."""


class Readiness(Locked):
    """One provider's place and models, found on first use. Safe to ask from many threads."""

    def __init__(self, profile: Profile, learnt: Learnt | None = None, on_fetch: OnFetch | None = None) -> None:
        super().__init__()
        self.profile = profile
        self._on_fetch = on_fetch
        self._learnt = learnt or Learnt()
        self._stock = Stock(profile, self._learnt)
        self._asking = threading.RLock()
        self._failed: _Failed | None = None
        self._place: Place | None = None
        self._server: Server | None = None

    def place(self) -> Place:
        """Where to send requests.

        Raises:
            lm15.NotConfiguredError: a secret is missing.
            NotReadyError: the embedded model could not be started.
        """
        with self._alone(self._lock):
            place = self._place or self._ready(self._find_place)
            self._place = place
            return place

    def target(self, name: str, place: Place) -> Target:
        """The model to ask for. A server that can tell what it has loaded is asked for that now and then.

        Raises:
            NotReadyError: the server could not be asked, has no chat model, or could not load this one.
            lm15.UnsupportedModelError: it does not have this model.
        """
        known = self._stock.known(name)
        if known is not None:
            return known
        came = time.monotonic()
        with self._alone(self._asking):
            if (known := self._stock.known(name)) is not None:
                return known
            failed = self._failed
            if failed is not None and failed.answers(name, came):
                raise own(failed.kind(failed.says, provider=self.profile.id))
            return self._asked(name, place)

    def _asked(self, name: str, place: Place) -> Target:
        began = time.monotonic()
        try:
            return self._ready(lambda: self._stock.asked(name, place))
        except lm15.LM15Error as error:
            now, ends = time.monotonic(), dialing.deadline()
            if ends is None or now < ends:  # else it was this caller's time that was up, and others may have more
                is_silent = type(error) is lm15.TransportError  # a word of the server's may be another one next time
                settling = min(_SETTLING * (now - began), _SETTLING_S) if is_silent else 0.0
                self._failed = _Failed(name, now + settling, type(error), error.message)
            raise

    def forget(self) -> None:
        """Look everything up again next time. An embedded server is held until then: other calls may be using it.

        Waits for nobody: event loops call it while another thread may be looking something up.
        """
        self._place = None
        self._stock.forget()

    def look_again(self) -> None:
        """Ask for the models again next time; how to get in stays as it is, because that may have cost a question."""
        self._stock.forget()

    def close(self) -> None:
        """Forget, and let go of an embedded server."""
        self.forget()
        with self._lock:
            self._hold(None)

    @staticmethod
    @contextmanager
    def _alone(lock: threading.RLock) -> Iterator[None]:
        """One caller finds something out, the others wait for it, each as long as its own deadline allows.

        What came of it, a failure too, is theirs as well: a server that hangs is not waited for by one after the other.
        """
        ends = dialing.deadline()
        if not lock.acquire(timeout=-1 if ends is None else max(0.0, ends - time.monotonic())):
            raise own(lm15.TimeoutError("it was not made ready in time"))
        try:
            yield
        finally:
            lock.release()

    def _ready(self, find: Callable[[], T]) -> T:
        try:
            return find()
        except LmrouteError as error:
            kind = next(kind for source, kind in _AS_LM15 if isinstance(error, source))
            # A server that quotes something here was not sent any prompt yet.
            raise own(kind(str(error), provider=self.profile.id)) from error

    def _find_place(self) -> Place:
        profile = self.profile
        if profile.type == "embedded":
            return self._start_embedded()
        token = secrets.resolve(profile.auth_token) if profile.auth_token else None
        if profile.type == "litellm":
            return Place(profile.endpoint or "", token)
        return Place(catalog.base_url(profile), token)

    def _start_embedded(self) -> Place:
        from lmroute.providers.embedded import EmbeddedServer  # noqa: PLC0415 - starts nothing unless it is used

        server = EmbeddedServer.acquire(
            Path(self.profile.model_path).expanduser() if self.profile.model_path else None,
            context_window=self.profile.context_window or _EMBEDDED_WINDOW,
            load_s=self.profile.timeouts.load_s,
            report=self._on_fetch,
        )
        self._hold(server)
        for name in self.profile.models:
            self._learnt.windows[Candidate(self.profile.id, name)] = server.context_window
        return Place(catalog.base_url(self.profile, server.base_url), server.api_key)

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self._asking = threading.RLock()
        if self._server is not None:
            self._place = None  # the parent may let go of its server: this process takes hold of it itself

    def _hold(self, server: Server | None) -> None:
        previous, self._server = self._server, server
        if previous is not None:
            previous.close()
