"""Models that are on the emulated disk. All of them are invented."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Kind(StrEnum):
    """What a model is for."""

    LLM = "llm"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class Model:
    """A downloaded model.

    Attributes:
        key: what a request calls it, in any case of letters.
        params: size as people write it, ``3B``; ``None`` when unknown.
        context_length: window that it gets when it is loaded, in tokens.
        max_context_length: what the model could take at most, in tokens.
    """

    key: str
    kind: Kind = Kind.LLM
    architecture: str = "llama"
    quantization: str = "Q4_K_M"
    bits: int = 4
    size_bytes: int = 2_000_000_000
    params: str | None = None
    context_length: int = 4096
    max_context_length: int = 32768

    @classmethod
    def named(cls, key: str) -> Self:
        """A model that is known by its key only; LM Studio's prefix tells an embedding model."""
        if key.lower().startswith("text-embedding-"):
            return cls(key, Kind.EMBEDDING, "nomic-bert", context_length=2048, max_context_length=2048)
        return cls(key)

    @property
    def publisher(self) -> str:
        """The part of the key before the slash."""
        publisher, slash, _ = self.key.partition("/")
        return publisher if slash else "lmroute"

    @property
    def display_name(self) -> str:
        """The key as a title."""
        return self.key.rpartition("/")[2].replace("-", " ").title()

    @property
    def variant(self) -> str:
        """Key and quantization: ``key@q4_k_m``."""
        return f"{self.key}@{self.quantization.lower()}"

    def answers_to(self, name: str) -> bool:
        """Whether a request that asks for ``name`` means this model."""
        return name.lower() in {self.key.lower(), self.variant.lower()}


SCRIPTED = (
    Model("rookery/tern-3b-instruct", params="3B"),
    Model("rookery/heron-8b-instruct", size_bytes=4_900_000_000, params="8B", max_context_length=131072),
    Model.named("text-embedding-wren-v1"),
)
"""What is on disk by default when a script answers."""

EMBEDDED = (
    Model(
        "smollm2-135m-instruct",
        quantization="Q4_1",
        size_bytes=98_000_000,
        params="135M",
        max_context_length=8192,
    ),
)
"""What is on disk by default when llama.cpp answers: only what it can really answer with."""
