"""The kinds of server lmroute knows, as data. A new OpenAI-compatible server is one row here and one YAML profile.

``dialect`` is what the server speaks; ``compat`` names DSPy's (lm15's) preset of its spellings; ``path`` is what stands
between the endpoint and ``/chat/completions``; ``endpoint`` is a service's fixed address.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from lmroute.model import Profile


class Dialect(StrEnum):
    """What is spoken on the wire."""

    OPENAI_CHAT = "openai-chat"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    LITELLM = "litellm"
    """Not a wire format: LiteLLM's engine takes over, for servers DSPy has no native dialect for."""


@dataclass(frozen=True, slots=True)
class ServerType:
    """One row of the catalogue.

    Attributes:
        lists_models: whether ``GET {base}/models`` tells what ``models: [auto]`` may mean.
        strict_model: whether the server is known to answer with another model than the one asked for.
        other_paths: where the server has other APIs, which people paste as well.
        calls: paths of its own outside of any API, whole.
    """

    dialect: Dialect
    compat: str = "openai"
    path: str = "/v1"
    endpoint: str | None = None
    lists_models: bool = True
    strict_model: bool = False
    other_paths: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()


# lm15 has no llama.cpp preset; its LM Studio one says the same: max_tokens, system role, no reasoning dial.
_LLAMA_CPP = ServerType(Dialect.OPENAI_CHAT, compat="lmstudio")

TYPES: dict[str, ServerType] = {
    "lmstudio": ServerType(
        Dialect.OPENAI_CHAT, compat="lmstudio", strict_model=True, other_paths=("/api/v1", "/api/v0")
    ),
    "embedded": _LLAMA_CPP,
    "llamacpp": replace(_LLAMA_CPP, calls=("/props", "/health", "/slots", "/completion", "/completions", "/tokenize")),
    "ollama": ServerType(
        Dialect.OPENAI_CHAT,
        compat="ollama",
        other_paths=("/api",),
        calls=("/api/chat", "/api/generate", "/api/tags", "/api/ps", "/api/show", "/api/version", "/api/embed"),
    ),
    "vllm": ServerType(
        Dialect.OPENAI_CHAT, compat="vllm", calls=("/version", "/health", "/metrics", "/tokenize", "/docs")
    ),
    "sglang": ServerType(
        Dialect.OPENAI_CHAT, compat="sglang", calls=("/generate", "/get_model_info", "/get_server_info", "/health")
    ),
    "openai_compatible": ServerType(Dialect.OPENAI_CHAT),
    "openai": ServerType(Dialect.OPENAI_CHAT, endpoint="https://api.openai.com"),
    "openrouter": ServerType(
        Dialect.OPENAI_CHAT, compat="openrouter", path="/api/v1", endpoint="https://openrouter.ai"
    ),
    "anthropic": ServerType(Dialect.ANTHROPIC, endpoint="https://api.anthropic.com"),
    "gemini": ServerType(
        Dialect.GEMINI, path="/v1beta", endpoint="https://generativelanguage.googleapis.com", lists_models=False
    ),
    "litellm": ServerType(Dialect.LITELLM, lists_models=False),
}

# What people paste: the address from a browser, from LM Studio's page, from a LiteLLM or OpenAI snippet.
_CALLS = ("/models", "/chat/completions", "/completions", "/responses", "/messages", "/embeddings")


def server_root(endpoint: str, row: ServerType) -> str:
    """An endpoint as typed, without query, trailing slashes and API path: ``http://h:1234/v1/`` is ``http://h:1234``.

    Only what is an API path on servers of this type is taken off: ``/api/v1`` is LM Studio's own API, elsewhere it is
    ``/v1`` behind a prefix that has to stay.
    """
    parts = urlsplit(endpoint.strip())
    path = parts.path.rstrip("/")
    roots = (*row.other_paths, row.path, "/v1")
    endings = (*(root + call for root in roots for call in ("", *_CALLS)), *row.calls, "/chat/completions")
    while ending := next((ending for ending in endings if path.endswith(ending)), None):
        path = path.removesuffix(ending).rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def base_url(profile: Profile, endpoint: str | None = None) -> str:
    """The address requests go under, API path included, without a trailing slash.

    Args:
        endpoint: where the server is, when only the run knows (embedded); else the profile's or the service's own.
    """
    row = TYPES[profile.type]
    address = endpoint or profile.endpoint or row.endpoint
    if address is None:
        raise ValueError(f"provider {profile.id!r} of type {profile.type!r} has no endpoint")
    return server_root(address, row) + row.path
