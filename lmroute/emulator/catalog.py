"""Models that are on the emulated disk. All of them are invented."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self


class Kind(StrEnum):
    """What a model is for."""

    LLM = "llm"
    EMBEDDING = "embedding"


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
"""What ``reasoning_effort`` takes, whatever the model advertises."""
_NATIVE_EFFORTS = {"off": "none", "on": "medium"}


@dataclass(frozen=True, slots=True)
class ReasoningOptions:
    """What a model that reasons can be told about it, in the words of ``/api/v1``: off, on, low, medium, high."""

    allowed: tuple[str, ...] = ("off", "on")
    default: str = "on"


@dataclass(frozen=True, slots=True)
class Model:
    """A downloaded model.

    Attributes:
        key: what a request calls it, in any case of letters.
        params: size as people write it, ``3B``; ``None`` when unknown.
        context_length: window that it gets when it is loaded, in tokens.
        max_context_length: what the model could take at most, in tokens.
        format: ``gguf`` runs on llama.cpp, ``mlx`` on Apple's machines.
        vision: whether it takes images.
        trained_for_tool_use: whether LM Studio advertises it for tools; any model may be given some.
        reasoning: ``None`` for a model that does not reason.
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
    format: Literal["gguf", "mlx"] = "gguf"
    vision: bool = False
    trained_for_tool_use: bool = False
    reasoning: ReasoningOptions | None = None

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

    @property
    def reasoning_field(self) -> str:
        """What the OpenAI-style routes call its reasoning; LM Studio documents another name for gpt-oss."""
        return "reasoning" if self.architecture == "gpt-oss" else "reasoning_content"

    def effort(self, asked: str | None) -> str:
        """How much it reasons, one of ``EFFORTS``, when asked so: an effort, an option of ``/api/v1``, or nothing."""
        if self.reasoning is None:
            return "none"
        chosen = asked or self.reasoning.default
        return _NATIVE_EFFORTS.get(chosen, chosen)

    def answers_to(self, name: str) -> bool:
        """Whether a request that asks for ``name`` means this model."""
        return name.lower() in {self.key.lower(), self.variant.lower()}


SCRIPTED = (
    Model("rookery/tern-3b-instruct", params="3B"),
    Model("rookery/heron-8b-instruct", size_bytes=4_900_000_000, params="8B", max_context_length=131072),
    Model.named("text-embedding-wren-v1"),
    Model("rookery/plover-7b-tools", size_bytes=4_400_000_000, params="7B", trained_for_tool_use=True),
    Model(
        "rookery/kestrel-4b-vision",
        architecture="kestrel3_vl",
        quantization="4bit",
        size_bytes=3_100_000_000,
        params="4B",
        format="mlx",
        vision=True,
    ),
    Model(
        "rookery/owl-9b-thinking",
        architecture="owl3",
        size_bytes=5_600_000_000,
        params="9B",
        trained_for_tool_use=True,
        reasoning=ReasoningOptions(),
    ),
    Model(
        "rookery/osprey-20b",
        architecture="gpt-oss",
        quantization="MXFP4",
        size_bytes=12_100_000_000,
        params="20B",
        max_context_length=131072,
        trained_for_tool_use=True,
        reasoning=ReasoningOptions(("low", "medium", "high"), "low"),
    ),
)
"""What is on disk by default when a script answers."""

DOWNLOADABLE = (Model("rookery/plover-1b-instruct", size_bytes=1_000_000_000, params="1B"),)
"""What can be downloaded by default."""

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
