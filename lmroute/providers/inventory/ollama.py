"""Ollama's own lists: what it has (``/api/tags``), what is in memory (``/api/ps``), what a model can (``/api/show``).

Its OpenAI API takes no window with a request: a model is loaded with the ``num_ctx`` of its own parameters, else with
the server's default, and what a prompt has too much is cut off without a word. So the window of a loaded model counts.
Read from docs.ollama.com/api.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from lmroute.providers.http import OK_STATUSES
from lmroute.providers.inventory.finding import find
from lmroute.providers.inventory.listing import named
from lmroute.providers.inventory.models import Api, Inventory, ListedModel, mapping, tokens, word
from lmroute.providers.inventory.signs import unproven

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmroute.model import Profile
    from lmroute.providers.http import Reply
    from lmroute.providers.inventory.line import Line

_MOST_SHOWN = 4
"""Each takes a request; the rest of the list is told without what it can do."""
_FOREVER_S = 365 * 86_400.0
"""Ollama tells a model that is kept for good (``keep_alive: -1``) with a time centuries ahead."""
_EFFORT_WORDS = re.compile(r"[a-z]+")
_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)\s*$", re.MULTILINE)


def detailed(line: Line, offered: Sequence[ListedModel]) -> Inventory | None:
    """What is offered, which of it is in memory and with which window; ``None``: some other program answers there."""
    tags = line.ask_root("/api/tags")
    entries = mapping(tags.body).get("models")
    if tags.status not in OK_STATUSES or not isinstance(entries, list):
        return unproven(line, offered, tags)
    ps = line.ask_root("/api/ps")
    known = {entry["name"].casefold(): entry for entry in named(entries, "name")}
    models = _with_state([_read(model, known.get(model.id.casefold(), {})) for model in offered], ps)
    return Inventory(Api.OLLAMA, tuple(_shown(line, models)))


def _read(model: ListedModel, entry: dict[str, Any]) -> ListedModel:
    details, host = mapping(entry.get("details")), word(entry.get("remote_host"))
    told = replace(
        model,
        chats=model.chats and "bert" not in str(details.get("family")),
        quantization=word(details.get("quantization_level")),
        format=word(details.get("format")),
        size_bytes=tokens(entry.get("size")),
        elsewhere=host,
    )
    return _able(told, entry.get("capabilities"))


def _with_state(models: Sequence[ListedModel], ps: Reply) -> list[ListedModel]:
    """The models with what is told of those in memory; nothing is told of any where that list is missing."""
    entries = mapping(ps.body).get("models")
    if ps.status not in OK_STATUSES or not isinstance(entries, list):
        return list(models)
    running, now = {entry["name"].casefold(): entry for entry in named(entries, "name")}, _now(ps)
    return [_state(model, running.get(model.id.casefold()), now) for model in models]


def _state(model: ListedModel, entry: dict[str, Any] | None, now: datetime) -> ListedModel:
    if entry is None:
        return replace(model, loaded=bool(model.elsewhere))  # what runs elsewhere is loaded by nobody here
    window = tokens(entry.get("context_length"))
    return replace(model, loaded=True, context_window=window, ttl_s=_left(entry.get("expires_at"), now))


def _shown(line: Line, models: list[ListedModel]) -> list[ListedModel]:
    """The models, and of those that count what each can do: what the profile names, then what is loaded."""
    asked: set[str] = set()
    while len(asked) < _MOST_SHOWN:
        # What was shown to be an embedding model is no longer what `auto` stands for, so this is found out each time.
        model = next((model for model in _wanted(line.profile, models) if model.id not in asked), None)
        if model is None:
            break
        asked.add(model.id)
        reply = line.ask_root("/api/show", {"model": model.id})
        if reply.status in OK_STATUSES:
            models = [_with_show(other, mapping(reply.body)) if other is model else other for other in models]
    return models


def _wanted(profile: Profile, models: Sequence[ListedModel]) -> Iterator[ListedModel]:
    yield from (model for name in profile.models if (model := find(models, name, profile)) is not None)
    yield from (model for model in models if model.loaded and not model.elsewhere)


def _with_show(model: ListedModel, body: dict[str, object]) -> ListedModel:
    info = mapping(body.get("model_info"))
    most = next((tokens(value) for key, value in info.items() if key.endswith(".context_length")), None)
    stated = _NUM_CTX.search(str(body.get("parameters") or ""))
    own = tokens(int(stated.group(1))) if stated else None
    window = model.context_window or (own if model.loaded else None)
    told = replace(model, context_window=window, max_context_window=min(filter(None, (most, own)), default=None))
    told = _able(told, body.get("capabilities"))
    efforts = mapping(body.get("thinking")).get("values")
    if told.reasoning is None and isinstance(efforts, list):
        words = (value for value in efforts if isinstance(value, str) and _EFFORT_WORDS.fullmatch(value))
        told = replace(told, reasoning=tuple(words) or None)
    return told


def _able(model: ListedModel, capabilities: object) -> ListedModel:
    if not isinstance(capabilities, list):
        return model  # before 0.6.4 they are not told
    return replace(
        model,
        chats="completion" in capabilities,
        tools="tools" in capabilities,
        vision="vision" in capabilities,
        reasoning=None if "thinking" in capabilities else (),
    )


def _now(reply: Reply) -> datetime:
    """The server's own time, by which it says when a model is unloaded; ours where it tells none."""
    try:
        return parsedate_to_datetime(reply.headers["date"])
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _left(expires_at: object, now: datetime) -> float | None:
    try:
        left = (datetime.fromisoformat(str(expires_at)) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return max(0.0, left) if left < _FOREVER_S else None
