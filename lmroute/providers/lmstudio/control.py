"""Load and unload models of LM Studio, over its native API (``/api/v1/models/…``, since 0.4.0).

``POST …/load`` always adds a copy, under ``key:2``, ``key:3`` and so on, each with its own memory. So nothing is loaded
here before the list was read, processes of one machine take turns, and a copy that came about all the same, because
another program loaded the model meanwhile, is unloaded again. A load that nobody waits for any more is waited for
before another one is asked for (see ``unfinished``).
"""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpcore
from filelock import FileLock, Timeout

from lmroute.config.paths import user_state_dir
from lmroute.errors import ModelMissing, ProviderUnavailable
from lmroute.providers import dialing
from lmroute.providers.addresses import server_of
from lmroute.providers.inventory import Api, Inventory, ListedModel, take
from lmroute.providers.lmstudio import unfinished
from lmroute.providers.lmstudio.lookup import instance_of, instead, model_of, names_a_copy
from lmroute.providers.lmstudio.names import plain_key
from lmroute.providers.lmstudio.refusals import Deed, accepted, reason_of, too_old
from lmroute.providers.lmstudio.tokens import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from lmroute.model import Load
    from lmroute.providers.inventory import Line

SETTINGS = ("context_length", "eval_batch_size", "flash_attention", "num_experts", "offload_kv_cache_to_gpu")
"""What a new instance can be told, as fields of ``lmroute.model.Load`` and of the request alike."""

_MODELS = "/api/v1/models"
_COPY = re.compile(r":\d+$")
_EVERY_S = 1.0


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


def load(
    line: Line,
    key: str,
    settings: Load,
    *,
    copy: bool = False,
    wait: Callable[[float], object] = time.sleep,
) -> Loaded:
    """Have a model in memory: the instance that is there, else a new one.

    Blocks until it is loaded; ``line.total_s`` bounds that, and so does ``dialing.until``.

    Args:
        settings: of a new instance; one that is there keeps its own.
        copy: load another copy even where there is one, or is going to be one.
        wait: waits so many seconds between two looks at a load that was left.

    Raises:
        ModelMissing: the server has no such model; the message names those that are called alike.
        ProviderUnavailable: it cannot be loaded; the message is the server's reason and what to do.
        TokenRefused: the token may not load models.
        Unreadable, and httpcore's errors.
    """
    with _taking_turns(line):
        inventory = listed(line)
        there = None if copy else instance_of(inventory, key)
        if there is None:
            _must_be_no_copy(inventory, key)
            there = None if copy else _arriving(line, key, wait)
        if there:
            unfinished.end(_note(line, key))
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
    accepted(line, reply, f"{instance} is not unloaded", "lmroute models shows what is loaded", deed="unload")
    unfinished.end(_note(line, instance))


def listed(line: Line, deed: Deed = "load") -> Inventory:
    """What the server has.

    Args:
        deed: what it is to be told next.

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
        raise ProviderUnavailable(f"{line.root} cannot be told to {deed}: {too_old(deed)}")
    return inventory


def unfinished_s(line: Line, key: str) -> float | None:
    """Seconds since a load of this model began whose end nobody saw; ``None`` where there is none."""
    return unfinished.age_s(_note(line, key))


def _load(line: Line, inventory: Inventory, body: dict[str, Any]) -> dict[str, Any]:
    key, note = body["model"], _note(line, body["model"])
    unfinished.begin(note)
    began = time.monotonic()
    try:
        reply = line.ask_root(f"{_MODELS}/load", body)
    except httpcore.TimeoutException as error:
        # Asked once more it would load another copy, as soon as this one is there.
        raise ProviderUnavailable(
            f"{key} was not loaded within {_since(began)}, and may still be loading: lmroute models shows when it is"
            f" there\n  help: {_more_time(line)}"
        ) from error
    except Exception:  # the server went away, or was never reached
        unfinished.end(note)
        raise
    unfinished.end(note)
    return accepted(line, reply, f"{key} is not loaded", instead(inventory, key))


def _arriving(line: Line, key: str, wait: Callable[[float], object]) -> ListedModel | None:
    """The instance that a load brings which was left before its end; ``None`` where none is under way."""
    while (age_s := unfinished_s(line, key)) is not None:
        if there := instance_of(listed(line), key):
            return there
        ends = dialing.deadline()
        if ends is not None and ends - time.monotonic() <= _EVERY_S:
            raise ProviderUnavailable(
                f"{key} is not there yet: a load of it began {age_s:.0f} s ago, and nobody saw its end\n"
                f"  help: look with: lmroute models; or load one more at once: lmroute models load {key} --copy"
            )
        wait(_EVERY_S)
    return None


def _must_be_no_copy(inventory: Inventory, key: str) -> None:
    """LM Studio numbers copies by itself: none can be asked for by its number."""
    if names_a_copy(inventory, key) and (model := model_of(inventory, key)):
        raise ModelMissing(
            f"there is no instance '{key}'\n"
            f"  help: name the model, '{model.key}'; with --copy one more is loaded, and LM Studio numbers it"
        )


def _loaded_meanwhile(now: Inventory, made: ListedModel) -> ListedModel | None:
    """The instance besides which a load made a copy, although nobody asked for one."""
    others = (m for m in now.models if m.loaded and m.of == made.of and m.id != made.id)
    return next(others, None) if _COPY.search(made.id) else None


@contextmanager
def _taking_turns(line: Line) -> Iterator[None]:
    """One load at a time for a server, whatever process of this machine asks for it."""
    folder, began = _folder(), time.monotonic()
    ends = dialing.deadline()
    patience_s = line.total_s if ends is None else min(line.total_s, max(0.0, ends - began))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        turn = FileLock(folder / f"{_server(line)}.lock").acquire(timeout=patience_s)
    except Timeout as error:
        raise ProviderUnavailable(
            f"another program has been loading a model on {line.root} for all of the {_since(began)} that were waited"
            f"\n  help: {_more_time(line)}"
        ) from error
    except OSError as error:
        raise ProviderUnavailable(
            f"{folder}, where programs that load models take turns, cannot be written: {error.strerror}\n"
            "  help: set LMROUTE_STATE_HOME to a folder that can"
        ) from error
    with turn:
        yield


def _since(began: float) -> str:
    return f"{round(time.monotonic() - began, 1):g} s"


def _more_time(line: Line) -> str:
    """What may have ended a wait, as advice: a command's own bound, the profile's, or the deadline of a call."""
    return f"a longer --timeout, providers.{line.profile.id}.timeouts.load_s, or deadline_s of the policy"


def _note(line: Line, key: str) -> Path:
    """Where it is remembered that a load of this model is under way."""
    name = hashlib.sha256(plain_key(key).encode()).hexdigest()[:16]
    return _folder() / f"{_server(line)}-{name}.begun"


def _folder() -> Path:
    return user_state_dir() / "loading"


def _server(line: Line) -> str:
    """A file name for the server, the same for each way to say this machine."""
    return hashlib.sha256(f"{server_of(line.root)}{urlsplit(line.root).path}".encode()).hexdigest()[:16]
