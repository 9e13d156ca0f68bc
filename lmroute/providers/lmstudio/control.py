"""Load and unload models of LM Studio, over its native API (``/api/v1/models/…``, since 0.4.0).

``POST …/load`` always adds a copy, under ``key:2``, ``key:3`` and so on, each with its own memory. So nothing is loaded
here before the list was read, processes of one machine take turns, and a copy that came about all the same, because
another program loaded the model meanwhile, is unloaded again.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpcore
from filelock import FileLock, Timeout

from lmroute.config.paths import user_state_dir
from lmroute.errors import ProviderUnavailable
from lmroute.providers.inventory import Api, Inventory, ListedModel, take
from lmroute.providers.lmstudio.names import plain_key
from lmroute.providers.lmstudio.refusals import TOO_OLD, accepted, reason_of
from lmroute.providers.lmstudio.tokens import REFUSED
from lmroute.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from lmroute.model import Load
    from lmroute.providers.inventory import Line

SETTINGS = ("context_length", "eval_batch_size", "flash_attention", "num_experts", "offload_kv_cache_to_gpu")
"""What a new instance can be told, as fields of ``lmroute.model.Load`` and of the request alike."""

_MODELS = "/api/v1/models"
_COPY = re.compile(r":\d+$")
_SHOWN = 3
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory.

    Attributes:
        model: as the server lists it now, with the window that it really got.
        is_new: whether it was loaded just now; else it was there.
        load_s: seconds that it took, as the server says.
    """

    model: ListedModel
    is_new: bool
    load_s: float | None = None


def load(line: Line, key: str, settings: Load, *, copy: bool = False) -> Loaded:
    """Have a model in memory: the instance that is there, else a new one.

    Blocks until it is loaded; ``line.total_s`` bounds that.

    Args:
        settings: of a new instance; one that is there keeps its own.
        copy: load another copy even where there is one.

    Raises:
        ModelMissing: the server has no such model; the message names those that are called alike.
        ProviderUnavailable: it cannot be loaded; the message is the server's reason and what to do.
        TokenRefused: the token may not load models.
        Unreadable, and httpcore's errors.
    """
    with _taking_turns(line):
        inventory = listed(line)
        if not copy and (there := instance_of(inventory, key)):
            return Loaded(there, is_new=False)
        asked = {name: value for name, value in asdict(settings).items() if name in SETTINGS and value is not None}
        answer = _load(line, inventory, {"model": key, **asked})
        # What was asked for and what was given differ; only the list says what the model really has.
        now = listed(line)
        made = next((m for m in now.models if m.id == answer.get("instance_id")), None)
        if made is None:
            raise ProviderUnavailable(f"{line.root} says that {key} is loaded, but does not list it")
        if not copy and (other := _loaded_meanwhile(now, made)):
            unload(line, made.id)
            return Loaded(other, is_new=False)
        seconds = answer.get("load_time_seconds")
        return Loaded(made, is_new=True, load_s=seconds if isinstance(seconds, int | float) else None)


def unload(line: Line, instance: str) -> None:
    """Take one instance out of memory. Instances are told apart by case.

    Raises:
        ProviderUnavailable, TokenRefused, Unreadable, and httpcore's errors, as ``load``.
    """
    reply = line.ask_root(f"{_MODELS}/unload", {"instance_id": instance})
    accepted(line, reply, f"{instance} is not unloaded", "lmroute models shows what is loaded")


def listed(line: Line) -> Inventory:
    """What the server has.

    Raises:
        ProviderUnavailable: it is no LM Studio that can be told to load.
        TokenRefused, Unreadable, and httpcore's errors.
    """
    inventory, reply = take(line)
    if inventory is None:
        if reply.status in REFUSED:
            accepted(line, reply, f"{line.root} does not tell its models")
        raise ProviderUnavailable(
            f"{line.root} does not tell its models ({reason_of(reply)}); is LM Studio there?\n"
            f"  help: check providers.{line.profile.id}.endpoint"
        )
    if inventory.is_other:
        raise ProviderUnavailable(
            f"what answers at {line.root} is not LM Studio\n  help: check providers.{line.profile.id}.endpoint"
        )
    if inventory.problem:
        raise ProviderUnavailable(f"{line.root}: {inventory.problem}\n  help: try again")
    if inventory.api is not Api.LMSTUDIO_V1:
        raise ProviderUnavailable(f"{line.root} cannot be told to load or unload: {TOO_OLD}")
    return inventory


def instance_of(inventory: Inventory, key: str) -> ListedModel | None:
    """The loaded instance that a request for this name gets: of exactly that name, else of that model."""
    instances = [model for model in inventory.models if model.loaded and model.of]
    return next((m for m in instances if m.id == key), None) or next(
        (m for m in instances if plain_key(m.of) == plain_key(key)), None
    )


def near(name: str, known: Iterable[str]) -> str:
    """The names that somebody may have meant, as advice; what there is when none is near."""
    names = list(dict.fromkeys(known))
    short = {other.rpartition("/")[2].casefold(): other for other in names}
    wanted = name.casefold()
    alike = [other for other in names if wanted in other.casefold()]
    alike += [short[other] for other in difflib.get_close_matches(wanted.rpartition("/")[2], short, n=_SHOWN)]
    shown = list(dict.fromkeys(alike))[:_SHOWN]
    if shown:
        return f"did you mean {_enumerated(shown)}?"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"there are {_enumerated(names[:_SHOWN])}{more}" if names else "there is none"


def _load(line: Line, inventory: Inventory, body: dict[str, Any]) -> dict[str, Any]:
    key, unknown = body["model"], near(body["model"], (model.key for model in inventory.models))
    try:
        reply = line.ask_root(f"{_MODELS}/load", body)
    except httpcore.TimeoutException as error:
        # Asked once more it would load another copy, as soon as this one is there.
        raise ProviderUnavailable(
            f"{key} was not loaded within {line.total_s:g} s, and may still be loading: lmroute models shows when it is"
            f" there\n  help: a longer --timeout, or providers.{line.profile.id}.timeouts.load_s"
        ) from error
    return accepted(line, reply, f"{key} is not loaded", f"{unknown} Or get it: lmroute models download {key}")


def _loaded_meanwhile(now: Inventory, made: ListedModel) -> ListedModel | None:
    """The instance besides which a load made a copy, although nobody asked for one."""
    others = (m for m in now.models if m.loaded and m.of == made.of and m.id != made.id)
    return next(others, None) if _COPY.search(made.id) else None


def _enumerated(names: Iterable[str]) -> str:
    return ", ".join(f"'{one_line(name)}'" for name in names)


@contextmanager
def _taking_turns(line: Line) -> Iterator[None]:
    """One load at a time for a server, whatever process of this machine asks for it."""
    folder = user_state_dir() / "loading"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        turn = FileLock(folder / f"{_server(line)}.lock").acquire(timeout=line.total_s)
    except Timeout as error:
        raise ProviderUnavailable(f"another program has been loading a model on {line.root} all the while") from error
    except OSError as error:
        raise ProviderUnavailable(
            f"{folder}, where programs that load models take turns, cannot be written: {error.strerror}\n"
            "  help: set LMROUTE_STATE_HOME to a folder that can"
        ) from error
    with turn:
        yield


def _server(line: Line) -> str:
    """A file name for the server, the same for each way to say this machine."""
    parts = urlsplit(line.root)
    host = "loopback" if parts.hostname in _LOOPBACK else parts.hostname
    return hashlib.sha256(f"{host}:{parts.port}{parts.path}".encode()).hexdigest()[:16]
