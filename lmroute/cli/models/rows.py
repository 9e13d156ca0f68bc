"""One server's models as rows: a row a model, with its instances. As data, and as cells of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.providers.inventory import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lmroute.model import Profile
    from lmroute.providers.inventory import ListedModel

HEAD = (
    "provider",
    "model",
    "type",
    "asked as",
    "loaded",
    "window",
    "at most",
    "parallel",
    "can",
    "ttl",
    "quant.",
    "size",
)
_FIXED = 3
"""Columns that are shown even when they are empty."""


@dataclass(frozen=True, slots=True)
class Row:
    """A model.

    Attributes:
        model: what the server tells of it.
        instances: what is loaded of it; servers other than LM Studio's newer ones tell of none.
        asked_as: what the profile calls it, where it does: ``auto``, or a name.
    """

    provider: str
    model: ListedModel
    instances: tuple[ListedModel, ...]
    asked_as: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """The same for programs."""
        model = self.model
        return {
            "id": model.key,
            "type": _type(model),
            "asked_as": list(self.asked_as),
            "offered": self.is_offered,
            "loaded": self.is_loaded,
            "instances": [
                {"id": i.id, "context_window": i.context_window, "parallel": i.parallel, "ttl_s": i.ttl_s}
                for i in self.instances
            ],
            "max_context_window": model.max_context_window,
            "context_window": model.context_window,
            "tools": model.tools,
            "vision": model.vision,
            "reasoning": None if model.reasoning is None else list(model.reasoning),
            "quantization": model.quantization,
            "format": model.format,
            "size_bytes": model.size_bytes,
        }

    def cells(self) -> tuple[str, ...]:
        """The same for people, under ``HEAD``."""
        model, instances = self.model, self.instances or (self.model,)
        return (
            self.provider,
            model.key,
            _type(model),
            _joined("by name" if name == model.key else name for name in self.asked_as),
            self._loaded_as(),
            _joined(_number(i.context_window) for i in instances),
            _number(model.max_context_window),
            _joined(_number(i.parallel) for i in instances),
            ", ".join(_abilities(model)),
            _joined(duration(i.ttl_s) for i in instances if i.ttl_s is not None),
            model.quantization or "",
            size(model.size_bytes),
        )

    @property
    def is_loaded(self) -> bool | None:
        """Whether it is in memory; ``None`` where the server does not say."""
        return True if self.instances else self.model.loaded

    @property
    def is_offered(self) -> bool:
        """Whether a request may name it now."""
        return self.model.offered or bool(self.instances)

    def _loaded_as(self) -> str:
        if self.instances:
            return _joined("yes" if instance.id == self.model.key else instance.id for instance in self.instances)
        if not self.is_offered:
            return "no, not offered"
        return {None: "", True: "yes", False: "no"}[self.model.loaded]


def rows(profile: Profile, models: Sequence[ListedModel]) -> list[Row]:
    """The rows of one provider, the loaded ones first, else as the server lists them."""
    found = [(name, find(models, name, profile)) for name in profile.models]
    asked = [(name, model.key) for name, model in found if model]
    made = []
    for key in dict.fromkeys(model.key for model in models):
        same = [model for model in models if model.key == key]
        own = next((model for model in same if not model.of), same[0])
        instances = tuple(model for model in same if model.of and model.loaded)
        made.append(Row(profile.id, own, instances, tuple(name for name, of in asked if of == key)))
    return sorted(made, key=lambda row: not row.is_loaded)


def cells_of(rows: Iterable[Row]) -> list[tuple[str, ...]]:
    """A table with its head, without columns that hold nothing."""
    table = [row.cells() for row in rows]
    kept = [n for n, _ in enumerate(HEAD) if n < _FIXED or any(cells[n] for cells in table)]
    return [tuple(cells[n] for n in kept) for cells in (HEAD, *table)] if table else []


def size(count: float | None) -> str:
    """Bytes as people read them."""
    if count is None:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"  # noqa: PLR2004


def duration(seconds: float | None) -> str:
    """Seconds as people read them."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 100:  # noqa: PLR2004
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _type(model: ListedModel) -> str:
    return "chat" if model.chats else "other" if model.embeds is False else "embedding"


def _number(count: int | None) -> str:
    return "" if count is None else str(count)


def _joined(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(word for word in words if word))


def _abilities(model: ListedModel) -> Iterable[str]:
    if model.tools:
        yield "tools"
    if model.vision:
        yield "vision"
    if model.reasoning:
        yield f"reasoning {'/'.join(model.reasoning)}"
