"""What a server turned out to be and to have: its level of API, and its models."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lmroute.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping


class Api(StrEnum):
    """What a server can be asked beside chats, found out by asking and never by a version number."""

    LMSTUDIO_V1 = "lmstudio-v1"
    """LM Studio since 0.4.0: every instance with its settings; models can be loaded, unloaded and downloaded."""
    LMSTUDIO_V0 = "lmstudio-v0"
    """LM Studio since 0.3.6: type, state and window of each model."""
    LMSTUDIO = "lmstudio"
    """LM Studio before: names only."""
    OLLAMA = "ollama"
    LLAMACPP = "llamacpp"
    VLLM = "vllm"
    SGLANG = "sglang"
    PLAIN = "plain"
    """The dialect's own list of models and nothing else."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that a server has. ``None`` where the server does not say.

    Attributes:
        id: what to send as ``model``; of a loaded instance of LM Studio's, the instance's.
        of: the model that this is an instance of; its own id when it is none.
        owner: what the server writes into ``owned_by``; some write their own name there.
        elsewhere: the host that runs the model, where the server only passes requests on (Ollama's cloud models).
        offered: whether a request may name it now. What is on disk only is not, where just-in-time loading is off.
        chats: whether it can answer a chat; embedding models cannot.
        embeds: whether it is an embedding model.
        context_window: tokens that it takes now: those of the loaded instance.
        max_context_window: tokens that it could take at most.
        reasoning: the settings of reasoning that it takes; ``None`` when it exposes none.
        parallel: predictions at once.
        variants: those that are on disk, as ``key@quant``; empty where nobody says.
        ttl_s: seconds until it is unloaded, if it idles. LM Studio tells them of what it loaded for a request.
    """

    id: str
    of: str = ""
    offered: bool = True
    chats: bool = True
    embeds: bool | None = None
    loaded: bool | None = None
    context_window: int | None = None
    max_context_window: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    reasoning: tuple[str, ...] | None = None
    parallel: int | None = None
    ttl_s: float | None = None
    quantization: str | None = None
    variants: tuple[str, ...] = ()
    format: str | None = None
    size_bytes: int | None = None
    elsewhere: str | None = None
    owner: str | None = field(default=None, repr=False, compare=False)

    @property
    def window(self) -> int | None:
        """The tokens that a request can count on: now if that is told, else at most."""
        return self.context_window or self.max_context_window

    @property
    def key(self) -> str:
        """The model's own name, whatever its instance is called."""
        return self.of or self.id


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a server has, and how much it can tell.

    Attributes:
        is_other: whether a server answered that is not of the type asked for.
        problem: why its own list could not be read, so that little is known; empty when it could, or there is none.
        answers: the bodies that this was read from, by the name of their schema in ``schemas/lmstudio``.
    """

    api: Api
    models: tuple[ListedModel, ...] = ()
    is_other: bool = False
    problem: str = ""
    answers: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def loads_on_demand(self) -> bool | None:
        """Whether a request for a model that is not loaded loads it; ``None`` when nothing shows it."""
        idle = [model for model in self.models if model.chats and model.loaded is False]
        return any(model.offered for model in idle) if idle else None

    @property
    def tells_ttl(self) -> bool:
        """Whether this server is known to tell remaining seconds, so that a loaded model without any stays loaded."""
        return any(model.ttl_s is not None for model in self.models)


NOTHING = Inventory(Api.PLAIN)
"""Of a server that did not tell."""


def tokens(told: object) -> int | None:
    """A count that a server tells, if it is one."""
    return told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else None


def told(value: object) -> bool | None:
    """A flag that a server tells, if it is one."""
    return value if isinstance(value, bool) else None


def word(value: object) -> str | None:
    """A word that a server tells, on one line, if it is one."""
    return one_line(value) if isinstance(value, str) and value else None


def mapping(value: object) -> dict[str, object]:
    """A JSON object that a server tells; an empty one when it is none."""
    return value if isinstance(value, dict) else {}
