"""What a profile promises of its models, held against what the server says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.model import AUTO, LoadMode
from lmroute.providers import contract
from lmroute.providers.inventory import Api, find, no_chat, not_offered, passed_on
from lmroute.providers.probe import enumerated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmroute.model import Profile
    from lmroute.providers.inventory import Inventory, ListedModel

_LMSTUDIO = "lmstudio"


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that does not hold: code, field of the profile, what is so, and what to do."""

    code: str
    path: tuple[str, ...]
    message: str
    advice: str


def broken(profile: Profile, names: Sequence[str], inventory: Inventory) -> Iterator[Broken]:
    """Every promise about the models of these names that does not hold. Names that are not there are told elsewhere."""
    found = [(name, model) for name in names if (model := find(inventory.models, name, profile))]
    for model in dict.fromkeys(model for _, model in found):
        yield from _window(profile, model, inventory.api)
        yield from _capabilities(profile, model)
        yield from _concurrency(profile, model)
        yield from _copies(model, inventory)
    for name, model in found:
        yield from _not_loaded_yet(profile, name, model, inventory)
    yield from _loading(profile, inventory)
    yield from _contract(profile, inventory)
    if inventory.problem:
        yield Broken(
            "LMR513",
            ("type",),
            f"{inventory.problem}; windows and what models can do are unknown",
            f"try again: lmroute models {profile.id}; if it stays, see the server's own log, or the proxy between",
        )


def why_not(profile: Profile, name: str, models: Sequence[ListedModel]) -> tuple[str, str] | None:
    """Why a model that the server has is not offered, and what to do; ``None`` when it does not have it at all."""
    if name == AUTO:
        return _nothing_loaded(profile, models)
    field = f"providers.{profile.id}.models"
    if away := passed_on(models, name, profile):
        message = f"'{away.id}' runs at {away.elsewhere}, and the profile says locality: {profile.locality}"
        return message, "give it a profile of its own with locality: cloud"
    if why := no_chat(models, name):
        chats = dict.fromkeys(model.key for model in models if model.chats)
        instead = enumerated(list(chats)) if chats else "there is none yet"
        return why, f"name a chat model in {field}: {instead}"
    idle = not_offered(models, name, profile)
    if idle is None:
        return None
    loaded = [model.id for model in models if model.chats and model.loaded and model.of]
    now = f"loaded is {enumerated(loaded)}" if loaded else "nothing is loaded"
    also = f", or write {field}=[{AUTO}] to take what is loaded" if loaded else ""
    message = f"'{idle.id}' is on disk but not loaded, and just-in-time loading is off; {now}"
    return message, f"load it: lmroute models load {idle.id}; or {_otherwise(profile)}{also}"


def _nothing_loaded(profile: Profile, models: Sequence[ListedModel]) -> tuple[str, str] | None:
    idle = [model.id for model in models if model.chats and not model.offered]
    if not idle:
        return None
    message = f"nothing is loaded, and just-in-time loading is off; on disk: {enumerated(idle)}"
    return message, f"load one: lmroute models load {idle[0]}; or {_otherwise(profile)}"


def _otherwise(profile: Profile) -> str:
    """What else there is than to load models by hand. ``++`` is right whether the profile speaks of loading or not."""
    switch = "turn just-in-time loading on in LM Studio's server settings"
    return f"{switch}, or write ++providers.{profile.id}.load.mode=explicit"


def _window(profile: Profile, model: ListedModel, api: Api) -> Iterator[Broken]:
    provider, declared = f"providers.{profile.id}", profile.context_window
    kind = "is loaded with" if model.context_window else "takes at most"
    if declared and model.window and model.window < declared:
        remedy = _larger(model, declared, api) if model.context_window else ""
        yield Broken(
            "LMR504",
            ("context_window",),
            f"the profile says {declared} tokens, but '{model.id}' {kind} {model.window}",
            f"{remedy}write {provider}.context_window={model.window}",
        )
    wanted = profile.load.context_length
    if wanted and model.window and model.window < wanted:
        yield Broken(
            "LMR504",
            ("load", "context_length"),
            f"the profile asks for {wanted} tokens, but '{model.id}' {kind} {model.window}",
            f"what is loaded is not loaded again: lmroute models unload {model.id}, and the next call loads it so"
            if model.context_window
            else f"write {provider}.load.context_length={model.window}",
        )


def _larger(model: ListedModel, window: int, api: Api) -> str:
    """How the model gets a larger window, where it can."""
    if model.max_context_window and model.max_context_window < window:
        return f"it takes at most {model.max_context_window}; "
    if api is not Api.LMSTUDIO_V1:
        return "load it with a larger context, or "
    again = f"lmroute models load {model.key} --context-length {window}"
    return f"lmroute models unload {model.id}, then {again}; or "


def _capabilities(profile: Profile, model: ListedModel) -> Iterator[Broken]:
    reasons = bool(model.reasoning) if model.reasoning is not None else None
    for name, told, denial in (
        ("tools", model.tools, "is not trained to use tools"),
        ("vision", model.vision, "takes no images"),
        ("reasoning", reasons, "does not reason"),
    ):
        if told is False and getattr(profile.capabilities, name):
            yield Broken(
                "LMR505",
                ("capabilities", name),
                f"the profile says true, but the server says that '{model.id}' {denial}",
                f"choose another model, or write providers.{profile.id}.capabilities.{name}=false",
            )


def _concurrency(profile: Profile, model: ListedModel) -> Iterator[Broken]:
    if profile.concurrency and model.parallel and profile.concurrency > model.parallel:
        yield Broken(
            "LMR508",
            ("concurrency",),
            f"the profile allows {profile.concurrency} calls at once, but '{model.id}' is loaded for {model.parallel}",
            f"the others would wait there, out of sight: write providers.{profile.id}.concurrency={model.parallel}, or"
            f" load it for more: lms unload {model.id}, then lms load {model.key} --parallel {profile.concurrency}",
        )


def _copies(model: ListedModel, inventory: Inventory) -> Iterator[Broken]:
    copies = [other.id for other in inventory.models if other.loaded and other.of == model.key]
    if len(copies) > 1:
        yield Broken(
            "LMR509",
            ("models",),
            f"'{model.key}' is loaded {len(copies)} times, each copy with its own memory: {', '.join(copies)}",
            f"unless that is meant: lmroute models unload {copies[-1]}",
        )


def _not_loaded_yet(profile: Profile, name: str, model: ListedModel, inventory: Inventory) -> Iterator[Broken]:
    if name == AUTO or profile.type != _LMSTUDIO or model.loaded is not False:
        return
    if profile.load.mode is LoadMode.EXPLICIT:
        return
    evicted = [other.id for other in inventory.models if other.loaded and other.of and other.ttl_s is not None]
    loaded = [other.id for other in inventory.models if other.loaded and other.of and other.chats]
    now = f"loaded is {enumerated(loaded)}" if loaded else "no model is loaded"
    instead = f"; or write providers.{profile.id}.models=[{AUTO}] to take what is loaded" if loaded else ""
    then = f", and LM Studio unloads '{evicted[0]}' for it" if evicted else ""
    yield Broken(
        "LMR510",
        ("models",),
        f"'{model.id}' is not loaded ({now}); the first call waits until it is{then}",
        f"load it now: lmroute models load {model.id}{instead}",
    )


def _loading(profile: Profile, inventory: Inventory) -> Iterator[Broken]:
    if profile.load.mode is LoadMode.EXPLICIT and inventory.api in {Api.LMSTUDIO, Api.LMSTUDIO_V0}:
        yield Broken(
            "LMR511",
            ("load", "mode"),
            "the profile wants models loaded explicitly, and this server cannot be told to: that takes LM Studio 0.4",
            f"update LM Studio, or write providers.{profile.id}.load.mode=jit",
        )


def _contract(profile: Profile, inventory: Inventory) -> Iterator[Broken]:
    for schema, body in inventory.answers.items():
        if lines := contract.problems(schema, body):
            more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
            yield Broken(
                "LMR512",
                ("type",),
                f"its list of models differs from what LM Studio is known to answer: {lines[0]}{more}",
                f"please report it; what is told of the models of providers.{profile.id} may be incomplete",
            )
