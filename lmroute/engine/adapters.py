"""Adapters: ``CompactAdapter`` for small local models, and which adapter a configuration means.

DSPy's own adapters explain their answer format in hundreds of tokens. A model of a hundred million parameters loses
the question in that, and a server that constrains decoding to a JSON schema does not need it said. So the prompt is
the inputs, one a line, then the signature's instructions, and nothing else; the schema travels beside it. Where a
provider enforces no schema, the routing engine writes it into the prompt (``lmroute.engine.shaping``).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import dspy
import pydantic
from dspy.adapters.baml_adapter import BAMLAdapter
from dspy.adapters.utils import format_field_value

from lmroute.model import Attributes, Locality
from lmroute.routing.decide import decide
from lmroute.routing.policy import compile_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dspy.signatures.signature import Signature

    from lmroute.model import Candidate, Stack

_SMALL_BILLIONS = 8.0
"""Below so many billion parameters a model is better off with the compact prompt."""

_SIZE = re.compile(r"(?<![\d.])(?:(\d+)x)?(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", re.IGNORECASE)


class CompactAdapter(dspy.JSONAdapter):
    """JSON output under a schema, with a prompt of inputs and instructions only."""

    def __init__(self) -> None:
        super().__init__(use_native_function_calling=False)

    def format(
        self, signature: type[Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """DSPy's messages without the system message, which would be about the format only."""
        messages: list[dict[str, Any]] = super().format(signature, demos, inputs)
        return messages[1:]

    def format_user_message_content(
        self,
        signature: type[Signature],
        inputs: dict[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        """The inputs, then the instructions: a small model answers best what it read last.

        Empty for a turn of a conversation that has outputs only.
        """
        shown = [
            f"{name}: {format_field_value(field, inputs[name])}"
            for name, field in signature.input_fields.items()
            if name in inputs
        ]
        if not shown and not main_request:
            return ""
        blocks = [prefix, "\n".join(shown), signature.instructions, _named_outputs(signature), suffix]
        return "\n\n".join(block.strip() for block in blocks if block.strip())

    def _prepare_response_format(self, lm: Any, lm_kwargs: dict[str, Any], signature: type[Signature]) -> None:  # noqa: ARG002
        lm_kwargs.setdefault("response_format", _response_format(signature))


# dspy.streaming.StreamListener finds the scanner for an adapter by its class name, and ours writes plain JSON.
CompactAdapter.__name__ = dspy.JSONAdapter.__name__


def _named_outputs(signature: type[Signature]) -> str:
    """The fields to answer with, when there are several or one is described; a single plain one goes without saying."""
    fields = signature.output_fields
    described = {name: _description(name, field) for name, field in fields.items()}
    if len(fields) == 1 and not any(described.values()):
        return ""
    return "\n".join(f"{name}: {text}" if text else name for name, text in described.items())


def _description(name: str, field: Any) -> str:
    text = (field.json_schema_extra or {}).get("desc") or ""
    return "" if text == f"${{{name}}}" else text  # DSPy's placeholder for "not described"


def _response_format(signature: type[Signature]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: (field.annotation, ...) for name, field in signature.output_fields.items()}
    model = pydantic.create_model("answer", __config__=pydantic.ConfigDict(extra="forbid"), **fields)
    schema = model.model_json_schema()
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": _is_flat(schema), "schema": schema}}


def _is_flat(schema: Mapping[str, Any]) -> bool:
    """Whether no object is inside: OpenAI's strict mode refuses any that is open or leaves a key optional."""
    return "$defs" not in schema and '"type": "object"' not in json.dumps(schema["properties"])


_ADAPTERS: Mapping[str, Callable[[], dspy.Adapter]] = {
    "compact": CompactAdapter,
    "json": dspy.JSONAdapter,
    "chat": dspy.ChatAdapter,
    "xml": dspy.XMLAdapter,
    "baml": BAMLAdapter,
}


def adapter_for(stack: Stack) -> dspy.Adapter:
    """The adapter that ``adapter: …`` names; ``auto`` is compact when a small local model may have to answer."""
    name = stack.adapter
    if name == "auto":
        name = "compact" if _may_be_small(stack) else "chat"
    return _ADAPTERS[name]()


def _may_be_small(stack: Stack) -> bool:
    policy = compile_policy(stack.policy, stack.providers)
    decision = decide(policy, Attributes(task=stack.task.name, privacy=stack.task.privacy, tags=stack.task.tags))
    return any(is_small(stack, candidate) for candidate in decision.candidates)


def is_small(stack: Stack, candidate: Candidate) -> bool:
    """Whether a candidate is a local model of few parameters, by its name; an unknown size counts as small."""
    if stack.providers[candidate.provider].locality is Locality.CLOUD:
        return False
    billions = parameters_of(candidate.model)
    return billions is None or billions < _SMALL_BILLIONS


def parameters_of(model: str) -> float | None:
    """Billions of parameters that a model's name states (``qwen3-4b`` 4.0, ``mixtral-8x7b`` 56.0), or ``None``."""
    found = _SIZE.search(model)
    if found is None:
        return None
    experts, number, unit = found.groups()
    return int(experts or 1) * float(number) / (1000 if unit in "mM" else 1)
