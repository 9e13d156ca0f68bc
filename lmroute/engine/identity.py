"""The name of a configuration, for DSPy's cache: the same name means the same providers under the same rules."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmroute.model import Stack

_DIGITS = 8


def stack_name(stack: Stack) -> str:
    """``policy@hash``. The hash is over what decides which model answers and how; it holds references to secrets only.

    The order of the providers is part of that. The task and the adapter are in the prompt already.
    """
    identity = [list(stack.providers.values()), stack.policy, stack.seed]
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), default=_plain)
    return f"{stack.policy.name}@{hashlib.sha256(canonical.encode()).hexdigest()[:_DIGITS]}"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {"is": type(value).__name__, **{f.name: getattr(value, f.name) for f in fields(value)}}
    return sorted(value)  # a frozenset, which has another order in every process
