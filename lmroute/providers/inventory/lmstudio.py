"""LM Studio's own lists, newest first: they tell what is loaded, with which window, and what it can do.

``GET /api/v1/models`` is there since 0.4.0, ``GET /api/v0/models`` since 0.3.6. An unknown path is answered with status
200 and an error, so a list is known by its key and never by its status.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lmroute.providers.http import message_of
from lmroute.providers.inventory.listing import named
from lmroute.providers.inventory.models import Api, Inventory, ListedModel, mapping, tokens, told, word
from lmroute.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lmroute.providers.http import Reply
    from lmroute.providers.inventory.line import Line

GREETING = "/lmstudio-greeting"

UNKNOWN_PATH = "unexpected endpoint or method"
"""LM Studio's own words for a path that it does not have; it says them with status 200."""
_ANYWHERE = frozenset({401, 403, 408, 425, 429, 500, *range(502, 600)})


def detailed(line: Line, offered: Sequence[ListedModel]) -> Inventory | None:
    """What is offered, with what the newest native list that there is tells of it.

    ``None``: some other program answers there.
    """
    is_lmstudio = False
    for api, path, schema, key, name, read in _LISTS:
        reply = line.ask_root(path)
        entries = mapping(reply.body).get(key)
        if isinstance(entries, list):
            listed = [model for entry in named(entries, name) for model in read(entry, entry[name])]
            return Inventory(api, merged(offered, listed), answers={schema: reply.body})
        if proves_nothing(reply):
            said = f"its own list of models could not be read: {path} answers HTTP {reply.status}"
            return Inventory(Api.PLAIN, tuple(offered), problem=said)
        if UNKNOWN_PATH in message_of(reply.body).lower():
            is_lmstudio = True
    is_lmstudio = is_lmstudio or mapping(line.ask_root(GREETING).body).get("lmstudio") is True
    return Inventory(Api.LMSTUDIO, tuple(offered)) if is_lmstudio else None


def proves_nothing(reply: Reply) -> bool:
    """Whether any server may answer so at any path: overloaded, starting, or careful with what it tells."""
    return reply.status in _ANYWHERE or "api key" in message_of(reply.body).lower()


def merged(offered: Sequence[ListedModel], listed: Sequence[ListedModel]) -> tuple[ListedModel, ...]:
    """What is offered, under the names it is offered by, with what the native list tells; then what is only on disk."""
    details: dict[str, ListedModel] = {}
    for model in listed:
        details.setdefault(model.id.casefold(), model)
    known = [replace(details.get(model.id.casefold(), model), id=model.id) for model in offered]
    names = {model.id.casefold() for model in offered}
    # An instance is offered by its id, whether the OpenAI list has that or not.
    rest = [replace(m, offered=bool(m.loaded)) for name, m in details.items() if name not in names]
    return (*known, *rest)


def _read_v1(entry: dict[str, Any], key: str) -> Iterator[ListedModel]:
    able, quantization = mapping(entry.get("capabilities")), mapping(entry.get("quantization"))
    model = ListedModel(
        one_line(key),
        chats=entry.get("type") == "llm",
        embeds=entry.get("type") == "embedding",
        loaded=False,
        max_context_window=tokens(entry.get("max_context_length")),
        tools=told(able.get("trained_for_tool_use")),
        vision=told(able.get("vision")),
        reasoning=_options(able.get("reasoning")),
        quantization=word(quantization.get("name")),
        variants=_variants(entry),
        format=word(entry.get("format")),
        size_bytes=tokens(entry.get("size_bytes")),
    )
    instances = entry.get("loaded_instances")
    for instance in named(instances if isinstance(instances, list) else [], "id"):
        config, left = mapping(instance.get("config")), instance.get("remaining_ttl_seconds")
        loaded = replace(
            model,
            loaded=True,
            context_window=tokens(config.get("context_length")),
            parallel=tokens(config.get("parallel")),
            ttl_s=float(left) if isinstance(left, int | float) and not isinstance(left, bool) else None,
        )
        # A request for the key goes to the first instance, whatever that is called.
        model = model if model.loaded else loaded
        yield replace(loaded, id=one_line(instance["id"]), of=one_line(key))
    yield model


def _read_v0(entry: dict[str, Any], key: str) -> Iterator[ListedModel]:
    able = entry.get("capabilities")
    yield ListedModel(
        one_line(key),
        chats=entry.get("type") in {"llm", "vlm"},
        embeds=entry.get("type") == "embeddings",
        loaded=entry.get("state") == "loaded",
        context_window=tokens(entry.get("loaded_context_length")),
        max_context_window=tokens(entry.get("max_context_length")),
        tools="tool_use" in able if isinstance(able, list) else None,
        vision=entry.get("type") == "vlm",
        quantization=word(entry.get("quantization")),
        format=word(entry.get("compatibility_type")),
    )


def _variants(entry: dict[str, Any]) -> tuple[str, ...]:
    names = entry.get("variants")
    told = names if isinstance(names, list) else [entry.get("selected_variant")]
    return tuple(one_line(name) for name in told if isinstance(name, str))


def _options(reasoning: object) -> tuple[str, ...] | None:
    """The settings that a model with a reasoning configuration takes. Most tell none, which proves nothing."""
    options = mapping(reasoning).get("allowed_options")
    return tuple(one_line(str(option)) for option in options) if isinstance(options, list) else None


_LISTS: tuple[tuple[Api, str, str, str, str, Callable[[dict[str, Any], str], Iterator[ListedModel]]], ...] = (
    (Api.LMSTUDIO_V1, "/api/v1/models", "models_v1", "models", "key", _read_v1),
    (Api.LMSTUDIO_V0, "/api/v0/models", "models_v0", "data", "id", _read_v0),
)
"""Where lists are, their schema, the key that proves them, where an entry has its name, and how it is read."""
