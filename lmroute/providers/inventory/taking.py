"""Take a server's inventory: its dialect's list, then what it alone can tell of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lmroute.providers.http import OK_STATUSES, WIRE_ERRORS, Reply, Unreadable, describe
from lmroute.providers.inventory import llamacpp, lmstudio, ollama, vllm
from lmroute.providers.inventory.models import Api, Inventory
from lmroute.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from lmroute.providers.inventory.line import Line
    from lmroute.providers.inventory.models import ListedModel

NATIVE: Mapping[str, Callable[[Line, Sequence[ListedModel]], Inventory | None]] = {
    "lmstudio": lmstudio.detailed,
    "ollama": ollama.detailed,
    "llamacpp": llamacpp.detailed,
    "vllm": vllm.detailed,
    "sglang": vllm.detailed,
}
"""By type of server, what asks it for more than its dialect's list; ``None`` from it: another program answers there."""


def take(line: Line, trace: Callable[[str, dict[str, Any]], None] | None = None) -> tuple[Inventory | None, Reply]:
    """What a server has, and its answer to the first question; ``None`` when that is no list of models.

    Raises:
        Unreadable, and httpcore's errors, for the first question. Details are a gift: a server that hangs there, or
        breaks, is not asked on.
    """
    reply = line.ask(line.listing.path, trace=trace)
    # An "error" beside a list is no error: some servers always send one, and it is null.
    offered = line.listing.read(reply.body) if reply.status in OK_STATUSES else None
    if offered is None:
        return None, reply
    plain = Inventory(Api.PLAIN, tuple(offered))
    ask_more = NATIVE.get(line.profile.type)
    if ask_more is None:
        return plain, reply
    try:
        return ask_more(line, offered) or replace(plain, is_other=True), reply
    except WIRE_ERRORS as error:
        problem = describe(error)
    except Unreadable as error:
        problem = str(error)
    return replace(plain, problem=one_line(f"its own list of models could not be read: {problem}")), reply
