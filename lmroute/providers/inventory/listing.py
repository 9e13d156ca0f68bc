"""How each dialect lists its models, as data, and what such a list tells of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.providers.catalog import Dialect
from lmroute.providers.http import TooLong
from lmroute.providers.inventory.models import ListedModel, mapping, tokens, word
from lmroute.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmroute.model import Secret


@dataclass(frozen=True, slots=True)
class Listing:
    """How a dialect lists models.

    Attributes:
        path: under the base URL; the longest page where there are pages.
        key, name: where the list stands in the answer, and a model's name in an entry.
        prefix: what stands before a name there and not in requests.
        token: the header that carries the token, and what stands before it.
    """

    path: str = "/models"
    key: str = "data"
    name: str = "id"
    prefix: str = ""
    token: tuple[str, str] = ("Authorization", "Bearer ")
    headers: tuple[tuple[str, str], ...] = ()

    def headers_with(self, token: Secret | None) -> list[tuple[str, str]]:
        """The headers of a request."""
        name, before = self.token
        return [*self.headers, *([] if token is None else [(name, before + token.reveal())])]

    def read(self, body: Any) -> list[ListedModel] | None:
        """The models of an answer; ``None`` when it is no such list.

        Raises:
            TooLong: see ``named``.
        """
        entries = body.get(self.key) if isinstance(body, dict) else None
        if not isinstance(entries, list):
            return None
        return [_read(entry, entry[self.name].removeprefix(self.prefix)) for entry in named(entries, self.name)]


MOST_MODELS = 10_000
"""Of one server. OpenRouter lists some hundreds."""

LISTINGS: dict[Dialect, Listing] = {
    Dialect.OPENAI_CHAT: Listing(),
    Dialect.ANTHROPIC: Listing(
        "/models?limit=1000", token=("x-api-key", ""), headers=(("anthropic-version", "2023-06-01"),)
    ),
    Dialect.GEMINI: Listing("/models?pageSize=1000", "models", "name", "models/", token=("x-goog-api-key", "")),
}
"""LiteLLM's is missing on purpose: there is nobody to ask."""

PUBLIC = frozenset({"openrouter"})
"""Types whose list is open to everybody, so that it proves nothing about a token."""

_WINDOWS = ("max_model_len", "context_length", "max_input_tokens", "inputTokenLimit")
"""vLLM's and SGLang's, OpenRouter's, Anthropic's and Gemini's word for the context window. llama.cpp's stands in
``meta``, and its router's state of a model in ``status``."""


def named(entries: Sequence[Any], name: str) -> Iterator[dict[str, Any]]:
    """The entries that have a name, which is all that a list needs to tell.

    Raises:
        TooLong: there are more than anybody has; reading them takes longer than the whole probe may.
    """
    if len(entries) > MOST_MODELS:
        raise TooLong(f"it lists {len(entries)} models, more than {MOST_MODELS}")
    for entry in entries:
        # One that cannot be written cannot be asked for: half a surrogate pair, say.
        if isinstance(entry, dict) and isinstance(entry.get(name), str) and one_line(entry[name]):
            yield entry


def _read(entry: dict[str, Any], name: str) -> ListedModel:
    can = entry.get("supported_parameters")
    inputs = mapping(entry.get("architecture")).get("input_modalities")
    meta, state = mapping(entry.get("meta")), mapping(entry.get("status")).get("value")
    windows = (*(entry.get(key) for key in _WINDOWS), meta.get("n_ctx"))
    return ListedModel(
        one_line(name),
        # Most lists have no types; embedding models are known by their name only.
        chats="embed" not in name.lower(),
        loaded=state == "loaded" if isinstance(state, str) else None,
        context_window=next((window for told in windows if (window := tokens(told))), None),
        max_context_window=tokens(meta.get("n_ctx_train")),
        tools="tools" in can if isinstance(can, list) else None,
        vision="image" in inputs if isinstance(inputs, list) else None,
        quantization=word(meta.get("ftype")),
        size_bytes=tokens(meta.get("size")),
        owner=word(entry.get("owned_by")),
    )
