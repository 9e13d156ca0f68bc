"""What the sync and the async child of one provider share: aim a request, know its engine, judge its answer."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dspy import lm15

from lmroute import redact
from lmroute.engine.exchange import Exchange
from lmroute.engine.readiness import OnFetch, Place, Readiness
from lmroute.engine.replies import Mending
from lmroute.engine.request.attributes import estimate_tokens
from lmroute.engine.shaping import spelled
from lmroute.engine.trace import noted, without_keys
from lmroute.engine.verdicts import ModelSubstitutedError, PromptTooLongError, advised, classify, refine
from lmroute.forks import Locked
from lmroute.logs import logger
from lmroute.model import AUTO, Failure, Profile
from lmroute.providers import dialing, lmstudio
from lmroute.providers.catalog import TYPES, Dialect
from lmroute.providers.inventory import is_answer
from lmroute.redact.errors import redacted
from lmroute.routing.classes import overflow_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dspy.lm15 import Request

    from lmroute.engine.live.learnt import Learnt
    from lmroute.engine.stock import Target

_log = logger("lmroute.engine")

_SAYS_NOTHING_OF_THE_SERVER = frozenset(
    {
        Failure.INVALID_REQUEST,
        Failure.UNSUPPORTED_FEATURE,
        Failure.RATE_LIMIT,
        Failure.BILLING,
        Failure.TIMEOUT,
    }
)
_KEYLESS = "none"  # lm15 wants a key even where the server does not; the transport leaves it out


@dataclass(frozen=True, slots=True)
class Call:
    """One request aimed at one provider.

    Attributes:
        place: where it goes, under which token.
        request: as the native engine gets it.
        target: the model that it asks for.
        is_pinned: whether the caller asked for exactly that model, and not for ``auto``.
    """

    place: Place
    request: Request
    target: Target
    is_pinned: bool
    exchange: Exchange

    def noted(self, answer: Any) -> Any:
        """The answer, or a stream's end event, with what was mended in it."""
        mending, answer = self.exchange.mending, self.shown(answer)
        return noted(answer, mending.notes) if mending is not None else answer

    def shown(self, answer: Any) -> Any:
        """The answer, or an event, without a key in what DSPy's history and cache keep beside its text."""
        return without_keys(answer) if self.exchange.echoes else answer


class Provider:
    """One provider profile at work. No I/O but what readiness does."""

    def __init__(self, profile: Profile, learnt: Learnt | None = None, on_fetch: OnFetch | None = None) -> None:
        self.profile = profile
        self.readiness = Readiness(profile, learnt, on_fetch)
        self._row = TYPES[profile.type]

    @property
    def is_litellm(self) -> bool:
        """Whether LiteLLM's engine has to do it."""
        return self._row.dialect is Dialect.LITELLM

    def aim(self, request: Request, *, stream: bool = False) -> Call:
        """Resolve the model and set the clocks. May block while a server or model is made ready.

        Raises:
            PromptTooLongError: the server tells a window that the prompt does not fit into.
        """
        place = self.readiness.place()
        target = self.readiness.target(request.model, place)
        _must_fit(request, target, self.profile)
        aimed = target.model if self.is_litellm else f"{self._engine_id}:{target.model}"
        is_chat = self._row.dialect is Dialect.OPENAI_CHAT
        request, notes = spelled(request, self.profile, target.reasoning)
        mending = Mending(request, list(notes)) if self.profile.type == "lmstudio" else None
        exchange = Exchange(
            self._patience(target.load_s), stream, needs_choices=is_chat, keyless=place.token is None, mending=mending
        )
        exchange.echoes = self.is_litellm  # whose traffic nobody here reads, so its answers are always looked through
        return Call(place, replace(request, model=aimed), target, request.model != AUTO, exchange)

    def check_model(self, call: Call, answered: str) -> None:
        """Act on an answer from another model than the one asked for, the way the profile says."""
        asked = call.target.model
        if not (self._row.strict_model and answered) or answered in call.target.instances:
            return
        if is_answer(call.target.listed, asked, answered):
            return
        message = redact.text(f"asked for {asked!r}, answered by {answered!r}")
        if not call.is_pinned:
            self.readiness.forget()  # any model would do, but another one is loaded by now, with another window
        elif self.profile.on_substitution == "error":
            raise ModelSubstitutedError(f"{message}; {self._cure(answered)}", provider=self.profile.id)
        else:
            _log.warning("%s: %s", self.profile.id, message)
            if call.exchange.mending is not None:
                call.exchange.mending.notes.append(message)

    def _cure(self, answered: str) -> str:
        place = f"providers.{self.profile.id}"
        return f"if that is meant, name {answered!r} under {place}.models or write ++{place}.on_substitution=warn"

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Errors under the class their text reveals; what is known about the server is forgotten when it fails."""
        try:
            with redacted():
                yield
        except lm15.LM15Error as error:
            # In place, because tracebacks show the original too; servers echo what they were sent.
            error.message = lmstudio.without_token(redact.text(error.message))
            error.args = (error.message,)
            error.provider = self.profile.id
            refined = advised(refine(error), self.profile)
            if classify(refined) is Failure.CONTEXT_LENGTH:
                self.readiness.look_again()  # the window may be another one by now
            elif classify(refined) not in _SAYS_NOTHING_OF_THE_SERVER:
                self.readiness.forget()
            if refined is error:
                raise
            raise refined from error

    def native_config(self, place: Place, transport: object) -> lm15.RouterConfig:
        """lm15's configuration for this provider: our transport, this address, this token, no environment."""
        token = place.token.reveal() if place.token else _KEYLESS
        common = {"transport": transport, "env": {}, "api_keys": {self._engine_id: token}}
        if self._row.dialect is not Dialect.OPENAI_CHAT:
            return lm15.RouterConfig(base_urls={self._engine_id: place.address}, **common)
        access = lm15.AccessPolicy(
            provider=self._engine_id,
            supports=lm15.EndpointSupport(complete=True, stream=True),
            auth_modes=("bearer",),
            env_keys=(),
            base_url=place.address,
        )
        compat = lm15.OpenAIChatCompat.preset(self._row.compat)
        return lm15.RouterConfig(providers=(lm15.ProviderDefinition.chat(access, compat=compat),), **common)

    def litellm_options(self, place: Place) -> dict[str, Any]:
        """LiteLLM's connection settings. Its timeout is per read; the routing deadline is not enforced inside it."""
        options: dict[str, Any] = {"timeout": self.profile.timeouts.total_s}
        if place.token is not None:
            options["api_key"] = place.token.reveal()
        if place.address:
            options["api_base"] = place.address
        return options

    @property
    def _engine_id(self) -> str:
        """What lm15 knows this provider by. Own ids for OpenAI-compatible servers, so that no table of lm15 applies."""
        if self._row.dialect is Dialect.OPENAI_CHAT:
            return f"lmroute-{self.profile.id.replace('_', '-').lower()}"
        return self._row.dialect.value

    def _patience(self, load_s: float) -> dialing.Patience:
        times = self.profile.timeouts
        own = time.monotonic() + times.total_s + load_s
        outer = dialing.deadline()
        return dialing.Patience(
            deadline=own if outer is None else min(own, outer),
            connect_s=times.connect_s,
            first_byte_s=times.first_token_s + load_s,
            idle_s=times.idle_s,
        )


def _must_fit(request: Request, target: Target, profile: Profile) -> None:
    """Send nothing that has to be refused: LM Studio may cut a prompt that is too long, and says nothing of it.

    What a server tells may be newer than what the decision went by.
    """
    if target.window is None:
        return
    tokens = estimate_tokens(request)
    if tokens >= overflow_at(target.window):
        raise PromptTooLongError(
            f"the prompt has about {tokens} tokens, and the window of {target.model} is {target.window}",
            provider=profile.id,
        )


class Providers(Locked):
    """The provider of each profile, one for the sync and the async engine alike: what one learns of a server both know.

    Args:
        learnt: collects what servers tell of their models.
    """

    def __init__(self, learnt: Learnt, on_fetch: OnFetch | None = None) -> None:
        super().__init__()
        self._learnt, self._on_fetch = learnt, on_fetch
        self._made: dict[str, Provider] = {}

    def of(self, profile: Profile) -> Provider:
        """The provider of a profile, the same one for as long as the profile is the same."""
        with self._lock:
            made = self._made.get(profile.id)
            if made is None or made.profile != profile:
                made = self._made[profile.id] = Provider(profile, self._learnt, self._on_fetch)
            return made
