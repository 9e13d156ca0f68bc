"""llama.cpp's own page of itself, ``GET /props``: its slots, their window, and what the model's template takes.

One server has one model, whatever a request names; started without a model it is a router, which has many and starts a
server for each that is asked for. Tried against the real one: the window that it tells is that of a slot, and the whole
of it where slots share one cache; a template that takes no tools has them left out of the prompt without a word.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from lmroute.providers.http import OK_STATUSES
from lmroute.providers.inventory.models import Api, Inventory, ListedModel, mapping, tokens, told
from lmroute.providers.inventory.signs import owner_type, unproven

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmroute.providers.inventory.line import Line

_MOST_SHOWN = 4
"""Each loaded model of a router takes a request."""


def detailed(line: Line, offered: Sequence[ListedModel]) -> Inventory | None:
    """What is offered, with how it is loaded and what it can do; ``None``: some other program answers there."""
    reply = line.ask_root("/props")
    props = mapping(reply.body) if reply.status in OK_STATUSES else {}
    if props.get("role") == "router":
        return Inventory(Api.LLAMACPP, tuple(_routed(line, offered, loads=props.get("models_autoload") is not False)))
    if "default_generation_settings" in props:
        return Inventory(Api.LLAMACPP, tuple(_with(model, props) for model in offered))
    if owner_type(offered) == "llamacpp":
        return Inventory(Api.LLAMACPP, tuple(offered))
    return unproven(line, offered, reply)


def _routed(line: Line, offered: Sequence[ListedModel], *, loads: bool) -> Iterator[ListedModel]:
    """A router's models. What is not loaded is not asked about, because that would load it."""
    left = _MOST_SHOWN
    for model in offered:
        if not model.loaded:
            yield replace(model, loaded=False, offered=loads)
            continue
        left -= 1
        reply = line.ask_root(f"/props?model={quote(model.id, safe='')}&autoload=false") if left >= 0 else None
        yield _with(model, mapping(reply.body)) if reply and reply.status in OK_STATUSES else model


def _with(model: ListedModel, props: dict[str, object]) -> ListedModel:
    settings, takes = mapping(props.get("default_generation_settings")), mapping(props.get("chat_template_caps"))
    sees = told(mapping(props.get("modalities")).get("vision"))
    return replace(
        model,
        loaded=props.get("is_sleeping") is not True,
        context_window=tokens(settings.get("n_ctx")) or model.context_window,
        parallel=tokens(props.get("total_slots")),
        tools=told(takes.get("supports_tools")),
        vision=model.vision if sees is None else sees,
        format=model.format or "gguf",
    )
