"""What a provider's server has in stock, kept fresh enough to aim by: which model answers, and is it in memory?

Asking costs a request or two, so an answer is kept: for seconds while the model that is wanted is loaded, and not at
all while it is not, because the call that follows changes that.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lmroute.engine.live.loaded import host_of
from lmroute.errors import ModelMissing, ProviderUnavailable, TokenRefused
from lmroute.model import AUTO, Candidate, LoadMode
from lmroute.providers import dialing
from lmroute.providers.catalog import TYPES
from lmroute.providers.http import message_of, told_plainly
from lmroute.providers.inventory import LISTINGS, NATIVE, Api, find, no_chat, not_offered, opened, passed_on, take
from lmroute.providers.lmstudio import control, tokens
from lmroute.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.engine.live.learnt import Learnt
    from lmroute.engine.readiness import Place
    from lmroute.model import Profile
    from lmroute.providers.http import Reply
    from lmroute.providers.inventory import Inventory, Line, ListedModel

_KEPT_S = 300.0
"""For so long names are kept: those of a server that tells nothing else, or does not tell."""
_TOLD_S = 10.0
"""For so long it is kept what a server told of what it has loaded. People swap models and load them anew with another
window while a program runs; looking takes some milliseconds."""
_OURS_S = 2.0
"""The same where we load with the profile's own settings: a call that finds the model unloaded makes LM Studio load it
with its own, and nothing shows that."""
_ASKING_S = 2.0
"""For so long a server may tell what it has; so says ``health``, too. Whoever waits for that could be elsewhere."""
_LOADS_WHEN_ASKED = frozenset({"lmstudio", "ollama"})
"""Types whose models may be cold even where nobody tells. Others have loaded theirs before they answer at all."""


@dataclass(frozen=True, slots=True)
class Target:
    """The model that a request is sent for.

    Attributes:
        model: as the server calls it.
        load_s: how much longer than usual its first byte may take, in seconds, because it is not in memory.
        instances: other names that it may answer by.
        listed: what the server has, by which is judged who answered; empty where it does not tell.
        reasoning: the settings of reasoning that it takes; ``None`` where nobody says.
        window: tokens of prompt and answer together; ``None`` where nobody says, or it is not in memory.
    """

    model: str
    load_s: float = 0.0
    instances: frozenset[str] = frozenset()
    listed: tuple[ListedModel, ...] = field(default=(), repr=False)
    reasoning: frozenset[str] | None = None
    window: int | None = None


class Stock:
    """The models of one provider's server, as of late. ``asked`` is for one thread at a time, the rest for many."""

    def __init__(self, profile: Profile, learnt: Learnt) -> None:
        self._profile, self._learnt = profile, learnt
        self._can_tell = profile.type in NATIVE
        self._loads = profile.type == "lmstudio" and profile.load.mode is LoadMode.EXPLICIT
        self._kept_s = (_OURS_S if self._loads else _TOLD_S) if self._can_tell else _KEPT_S
        self._ready: dict[str, Target] = {}
        self._ready_until = 0.0

    def known(self, name: str) -> Target | None:
        """What a request for a model of the profile is to ask for, where that needs no asking."""
        if name != AUTO and not self._can_tell:
            return Target(name)
        return self._ready.get(name) if time.monotonic() < self._ready_until else None

    def asked(self, name: str, place: Place) -> Target:
        """The same after a look at the server, which loads the model where the profile says so.

        Raises:
            ProviderUnavailable: there is no list to choose from, or no chat model, or it cannot be loaded.
            ModelMissing: the server is known not to have it, or not to load it.
            ServerUnreachable: nobody answers there.
            TokenRefused: it does not tell without a token, or another one.
        """
        with self._line(place) as line:
            with dialing.until(time.monotonic() + _ASKING_S):  # the line's own end allows for a load
                inventory = self._taken(line, name)
            if inventory is None:
                return Target(name, self._patience(None))
            listed = find(inventory.models, name, self._profile)
            if self._loads and listed is not None and not listed.loaded:
                # The profile's own settings would be lost if LM Studio loaded it for the request.
                listed = control.load(line, listed.key if name == AUTO else name, self._profile.load).model
                inventory = self._taken(line, name) or inventory
        if listed is None:
            self._must_not_miss(name, inventory)
            return Target(name, self._patience(None), listed=inventory.models)
        return self._target(name, listed, inventory)

    def forget(self) -> None:
        """Look again next time."""
        self._ready_until = 0.0

    @contextmanager
    def _line(self, place: Place) -> Iterator[Line]:
        profile = self._profile
        listing = LISTINGS.get(TYPES[profile.type].dialect)
        if listing is None or not TYPES[profile.type].lists_models:
            raise ProviderUnavailable(_name_one(profile))
        total_s = _ASKING_S + (profile.timeouts.load_s if self._loads else 0.0)
        with told_plainly(place.address), opened(profile, place.address, listing, place.token, total_s=total_s) as line:
            yield line

    def _taken(self, line: Line, name: str) -> Inventory | None:
        """The inventory, which is kept; ``None`` where there is none and the model is known by name anyway."""
        asked_at = time.monotonic()
        inventory, reply = take(line)
        if inventory is not None:
            self._learn(inventory, name, asked_at)
            return inventory
        if reply.status in tokens.REFUSED:
            raise TokenRefused(_refusal(self._profile, line, reply))
        if name != AUTO:
            # What cannot be asked is not asked at every call.
            names = {*self._profile.models, name} - {AUTO}
            self._ready = {each: Target(each, self._patience(None)) for each in names}
            self._ready_until = asked_at + _KEPT_S
            return None
        raise ProviderUnavailable(f"{line.base}/models is no list of models (HTTP {reply.status}); check the endpoint")

    def _learn(self, inventory: Inventory, wanted: str, asked_at: float) -> None:
        """Note what is told of the profile's models, and which of them can be asked for without another look."""
        learnt, profile, loaded, ready = self._learnt, self._profile, {}, {}
        kept_s = min(self._kept_s, profile.load.ttl_s or _KEPT_S)  # servers before 0.4.24 tell of none
        for name in dict.fromkeys((*profile.models, wanted)):
            listed = find(inventory.models, name, profile)
            loaded[name] = listed is not None and listed.loaded is True
            present = None if listed is None or listed.loaded is False else listed
            stays = present is not None and present.ttl_s is None and loaded[name] and self._stays(inventory)
            learnt.note(Candidate(profile.id, name), present, stays=stays, until=asked_at + self._kept_s)
            if listed is not None and not (self._can_tell and (listed.loaded is False or self._must_look(listed))):
                ready[name] = self._target(name, listed, inventory)
                kept_s = min(kept_s, kept_s if listed.ttl_s is None else listed.ttl_s)
        learnt.hosts.loaded.listed(host_of(profile), loaded, asked_at)
        self._ready, self._ready_until = ready, asked_at + kept_s

    def _stays(self, inventory: Inventory) -> bool:
        """Whether a loaded model without seconds to live is known to stay; servers before 0.4.24 tell of none."""
        return self._loads or inventory.tells_ttl

    def _must_not_miss(self, name: str, inventory: Inventory) -> None:
        """Refuse what the server would answer with another model; a server that tells nothing is given the chance.

        Raises:
            ModelMissing, ProviderUnavailable: as ``asked``.
        """
        profile = self._profile
        if away := passed_on(inventory.models, name, profile):
            raise ModelMissing(
                f"{profile.id} does not run '{away.id}' itself, {away.elsewhere} does, and the profile says locality:"
                f" {profile.locality}; give that model a profile of its own with locality: cloud"
            )
        if why := no_chat(inventory.models, name):
            raise ModelMissing(f"{profile.id}: {why}; name a chat model under providers.{profile.id}.models")
        if idle := not_offered(inventory.models, name, profile):
            raise ModelMissing(
                f"{profile.id} has '{idle.id}' on disk, but it is not loaded and just-in-time loading is off: load it"
                f" (lmroute models load {idle.id}), or write ++providers.{profile.id}.load.mode=explicit"
            )
        if name == AUTO:
            raise ProviderUnavailable(_name_one(profile))
        if self._is_complete(inventory) and profile.on_substitution == "error":
            raise ModelMissing(
                f"{profile.id} has no model '{one_line(name)}' (lmroute models {profile.id} shows what it has);"
                " another one would have answered"
            )

    def _is_complete(self, inventory: Inventory) -> bool:
        """Whether the list tells every name that a model has, so that one which is not in it is not there.

        LM Studio's older lists leave out what people call the instances that they load.
        """
        return TYPES[self._profile.type].strict_model and inventory.api is Api.LMSTUDIO_V1

    def _target(self, name: str, listed: ListedModel, inventory: Inventory) -> Target:
        model = listed.id if name == AUTO else name
        own = frozenset(other.id for other in inventory.models if other.loaded and other.key == listed.key)
        settings = None if listed.reasoning is None else frozenset(listed.reasoning)
        window = None if listed.loaded is False else listed.context_window
        return Target(model, self._patience(listed.loaded), own, inventory.models, settings, window)

    def _patience(self, loaded: bool | None) -> float:
        """How much longer a first byte may take, in seconds."""
        is_cold = not loaded if self._profile.type in _LOADS_WHEN_ASKED else loaded is False
        return self._profile.timeouts.load_s if is_cold and self._can_tell else 0.0

    def _must_look(self, listed: ListedModel) -> bool:
        """Whether a server is asked before each call, because it would answer with another model."""
        return listed.loaded is None and TYPES[self._profile.type].strict_model


def _name_one(profile: Profile) -> str:
    if profile.type == "lmstudio":
        return f"{profile.id} has no chat model; load one in LM Studio (or: lms load)"
    return f"{profile.id} lists no chat model; name one under providers.{profile.id}.models"


def _refusal(profile: Profile, line: Line, reply: Reply) -> str:
    if profile.type == "lmstudio":
        refused = tokens.refusal(line.token, reply.status, profile)
        return f"{line.root}: {refused.what}; {refused.advice}"
    said = one_line(message_of(reply.body))
    told = f": {said}" if said else ""
    return f"{line.base} refuses the token (HTTP {reply.status}); see providers.{profile.id}.auth_token{told}"
