"""By what the kinds of server give themselves away, whatever a profile takes them for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmroute.providers.http import OK_STATUSES, WIRE_ERRORS, Unreadable, message_of
from lmroute.providers.inventory.lmstudio import GREETING, UNKNOWN_PATH
from lmroute.providers.inventory.models import Api, Inventory, mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lmroute.providers.http import Reply
    from lmroute.providers.inventory.line import Line
    from lmroute.providers.inventory.models import ListedModel


@dataclass(frozen=True, slots=True)
class Sign:
    """How a kind of server is known.

    Attributes:
        name: as its makers write it.
        owner: what it writes into ``owned_by`` of the models it lists.
        path: outside of its OpenAI API, what it answers and others do not; ``proves`` tells by that answer.
    """

    name: str
    owner: str
    path: str
    proves: Callable[[dict[str, object]], bool]


SIGNS: dict[str, Sign] = {
    "lmstudio": Sign("LM Studio", "organization_owner", GREETING, lambda body: body.get("lmstudio") is True),
    "ollama": Sign("Ollama", "library", "/api/version", lambda body: isinstance(body.get("version"), str)),
    "llamacpp": Sign("llama.cpp", "llamacpp", "/props", lambda body: "default_generation_settings" in body),
    "sglang": Sign("SGLang", "sglang", "/get_model_info", lambda body: isinstance(body.get("model_path"), str)),
    "vllm": Sign("vLLM", "vllm", "/version", lambda body: isinstance(body.get("version"), str)),
}
"""By type. The owners of Ollama's models are namespaces of its library, of which most are in ``library`` itself."""


def owner_type(offered: Sequence[ListedModel]) -> str | None:
    """The type that the list's own words tell, at no further question; ``None`` when they tell none, or two."""
    owners = {model.owner for model in offered}
    told = [kind for kind, sign in SIGNS.items() if sign.owner in owners]
    return told[0] if len(told) == 1 else None


def unproven(line: Line, offered: Sequence[ListedModel], reply: Reply | None = None) -> Inventory | None:
    """What is offered by a server that did not show the API of its type: a proxy may hide it.

    ``None``: it is known to be another program, by its list or by LM Studio's words for a path that it does not have.
    """
    says_lmstudio = reply is not None and UNKNOWN_PATH in message_of(reply.body).lower()
    if says_lmstudio or owner_type(offered) not in {None, line.profile.type}:
        return None
    return Inventory(Api.PLAIN, tuple(offered))


def looks_like(line: Line, offered: Sequence[ListedModel]) -> str | None:
    """The type of a server that is not of its profile's, by its list, else by a question for each other type.

    Asks what ``SIGNS`` names, at most one less than that, and stops at an answer or when the server stops answering.
    """
    told = owner_type(offered)
    if told is not None and told != line.profile.type:
        return told
    others = (kind for kind in SIGNS if kind != line.profile.type)
    try:
        return next((kind for kind in others if _shows(line, SIGNS[kind])), None)
    except WIRE_ERRORS:
        return None


def _shows(line: Line, sign: Sign) -> bool:
    try:
        reply = line.ask_root(sign.path)
    except Unreadable:
        return False  # many servers have a page for everything
    return reply.status in OK_STATUSES and sign.proves(mapping(reply.body))
