"""The name of a configuration, for DSPy's cache: the same name means the same providers under the same rules."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmroute.model import Stack

_DIGITS = 8
_PARTS = ("providers", "routing", "seed")
"""What decides which model answers and how; the task and the adapter are in the prompt already."""


def stack_name(stack: Stack) -> str:
    """``policy@hash``. The hash is over the composed configuration, which holds no secrets."""
    identity = {part: stack.document.get(part) for part in _PARTS}
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), default=str)
    return f"{stack.policy.name}@{hashlib.sha256(canonical.encode()).hexdigest()[:_DIGITS]}"
