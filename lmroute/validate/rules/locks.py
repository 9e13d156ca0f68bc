"""Rules about what ``lmroute lock`` found: the profiles promise nothing that their servers did not keep then.

A provider that nobody has locked is no finding. Of one whose server is another one now, only that is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.config.complaints import did_you_mean
from lmroute.config.keypaths import dotted
from lmroute.diagnostics import Diagnostic, Related
from lmroute.lock.document import Kind, address
from lmroute.model import AUTO, Named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.lock.document import LockedModel, LockedProvider
    from lmroute.lock.file import Reading
    from lmroute.model import Profile
    from lmroute.validate.context import Context

_AGAIN = "if the server has changed, lock again: lmroute lock"
_SHOWN_MODELS = 5


def readable(context: Context) -> Iterator[Diagnostic]:
    """LMR330 and LMR331: the lock cannot be used."""
    if context.locked:
        yield from context.locked.findings


def same_server(context: Context) -> Iterator[Diagnostic]:
    """LMR332: the profile's server is not the one that was locked."""
    for pair in _locked(context):
        if field := pair.elsewhere:
            now = pair.profile.type if field == "type" else address(pair.profile.endpoint)
            then = getattr(pair.locked, field)
            message = f"the lock is about another server ({field} {_told(then)}, not {_told(now)}) and is not compared"
            yield pair.finding("LMR332", (field,), message, "to lock this one instead: lmroute lock", (field,))


def models(context: Context) -> Iterator[Diagnostic]:
    """LMR333: the profile, or the policy, names a model that the locked server did not have, or that cannot chat."""
    for pair in _same(context):
        for path, name in pair.names():
            if other := _embedding(name, pair.locked):
                message, place = f"'{other.id}' is an embedding model, it answers no chat", pair.line_of(other)
                yield pair.finding("LMR333", ("models",), message, _instead(pair.locked), place, at=path)
            elif pair.locked.answering(name) is None and (name != AUTO or name in pair.locked.answers):
                message, advice = _missing(name, pair.locked)
                yield pair.finding("LMR333", ("models",), message, advice, at=path)


def _embedding(name: str, locked: LockedProvider) -> LockedModel | None:
    """The model of a name when that is known to answer no chat, whoever else answered to it."""
    model = locked.answering(name) or locked.named(name)
    return model if model and model.kind is Kind.EMBEDDING else None


def _instead(locked: LockedProvider) -> str:
    chats = _chats(locked)
    return f"name a chat model: {', '.join(chats[:_SHOWN_MODELS])}" if chats else _AGAIN


def _chats(locked: LockedProvider) -> list[str]:
    return [model.id for model in locked.models if model.kind is Kind.CHAT]


def _missing(name: str, locked: LockedProvider) -> tuple[str, str]:
    """Why nobody answered to a name, and what to do."""
    chats = _chats(locked)
    if name == AUTO:
        return "the server had no chat model when it was locked", _AGAIN
    if locked.named(name):
        return f"'{name}' was not loaded when the server was locked, and a request loads none there", _AGAIN
    message = f"the server had no model '{name}' when it was locked"
    if near := did_you_mean(name, chats):
        return message, f"{near} If the server has it by now, lock again: lmroute lock"
    return message, f"it had {', '.join(chats[:_SHOWN_MODELS])}; {_AGAIN}" if chats else _AGAIN


def windows(context: Context) -> Iterator[Diagnostic]:
    """LMR334: the profile promises more tokens than the locked model takes."""
    yield from dict.fromkeys(_too_small(context))  # several names may mean one model


def capabilities(context: Context) -> Iterator[Diagnostic]:
    """LMR335: the profile promises tools or images, and the locked model has none."""
    yield from dict.fromkeys(_unable(context))


def _too_small(context: Context) -> Iterator[Diagnostic]:
    for pair in _same(context):
        for name, model in pair.answering():
            most = pair.locked.most(name)
            if most and most < (pair.profile.context_window or 0):
                kind = "was loaded with" if pair.locked.window(name) else "takes at most"
                message = f"the profile says {pair.profile.context_window} tokens, but '{model.id}' {kind} {most}"
                advice = f"write providers.{pair.profile.id}.context_window={most}; {_AGAIN}"
                yield pair.finding("LMR334", ("context_window",), message, advice, pair.line_of(model))


def _unable(context: Context) -> Iterator[Diagnostic]:
    for pair in _same(context):
        for _, model in pair.answering():
            for what in ("tools", "vision"):
                if getattr(model, what) is False and getattr(pair.profile.capabilities, what):
                    message = f"the profile says true, but the server said that '{model.id}' cannot"
                    advice = f"choose another model, or write providers.{pair.profile.id}.capabilities.{what}=false"
                    yield pair.finding(
                        "LMR335", ("capabilities", what), message, f"{advice}; {_AGAIN}", pair.line_of(model)
                    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """A profile in use and what was locked of it."""

    context: Context
    reading: Reading
    profile: Profile
    locked: LockedProvider

    @property
    def elsewhere(self) -> str:
        """The field in which the profile is of another server than was locked; empty when it is of the same."""
        if self.profile.type != self.locked.type:
            return "type"
        return "endpoint" if address(self.profile.endpoint) != self.locked.endpoint else ""

    def names(self) -> Iterator[tuple[KeyPath, str]]:
        """The models that are asked for, each where it is named first."""
        own = ("providers", self.profile.id, "models")
        found: dict[str, KeyPath] = {}
        for at, name in enumerate(self.profile.models):
            found.setdefault(name, (*own, str(at)))
        for entry in self.context.entries:
            if isinstance(entry.use, Named) and entry.use.provider == self.profile.id and entry.use.model:
                found.setdefault(entry.use.model, entry.path)
        yield from ((path, name) for name, path in found.items())

    def answering(self) -> Iterator[tuple[str, LockedModel]]:
        """The names that the profile sends and somebody answered to, and who did."""
        for name in self.profile.models:
            model = self.locked.answering(name)
            if model and model.kind is not Kind.EMBEDDING:
                yield name, model

    def line_of(self, model: LockedModel) -> KeyPath:
        """Where a model stands, below the provider in the lock."""
        return "models", str(self.locked.models.index(model))

    def finding(
        self, code: str, field: KeyPath, message: str, advice: str,
        in_lock: KeyPath = ("models",), *, at: KeyPath = (),
    ) -> Diagnostic:  # fmt: skip
        """A finding about a field of the profile, or about ``at``, and the place in the lock that says otherwise."""
        path = at or ("providers", self.profile.id, *field)
        there = self.reading.locate(("providers", self.profile.id, *in_lock))
        related = (Related(f"locked on {self.locked.taken.partition('T')[0]}", there),)
        return Diagnostic(code, message, self.context.locate(path), dotted(path), advice, related=related)


def _locked(context: Context) -> Iterator[_Pair]:
    reading = context.locked
    if reading is None or reading.lock is None:
        return
    for name, profile in context.providers.items():
        if profile.enabled and profile.id == name and name in reading.lock.providers:
            yield _Pair(context, reading, profile, reading.lock.providers[name])


def _same(context: Context) -> Iterator[_Pair]:
    return (pair for pair in _locked(context) if not pair.elsewhere)


def _told(value: str | None) -> str:
    return value or "none of its own"
