"""vLLM and SGLang: one model, loaded before the server answers; its window stands in the OpenAI list already.

They write their own name into ``owned_by``. What a model can do depends on how the server was started, and neither
tells it: tools need a parser that is named on its command line.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lmroute.providers.inventory.models import Api, Inventory
from lmroute.providers.inventory.signs import owner_type, unproven

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.providers.inventory.line import Line
    from lmroute.providers.inventory.models import ListedModel

_APIS = {"vllm": Api.VLLM, "sglang": Api.SGLANG}


def detailed(line: Line, offered: Sequence[ListedModel]) -> Inventory | None:
    """What is offered, all of it loaded; ``None``: some other program answers there. Asks nothing."""
    kind = line.profile.type
    if owner_type(offered) != kind:
        return unproven(line, offered)
    windows = {model.context_window for model in offered} - {None}
    shared = windows.pop() if len(windows) == 1 else None  # adapters (LoRA) tell none, and have their base's
    return Inventory(
        _APIS[kind],
        tuple(replace(model, loaded=True, context_window=model.context_window or shared) for model in offered),
    )
