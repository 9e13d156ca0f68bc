"""Which release of LM Studio is imitated, and since which release it could do what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Release: TypeAlias = tuple[int, int, int]

ALWAYS: Release = (0, 0, 0)
OPENAI_ERRORS: Release = (0, 3, 6)
"""Model errors are 400; before, 404 with other words."""
NATIVE_V0: Release = (0, 3, 6)
TOOLS: Release = (0, 3, 6)
"""Before, ``tools`` was one more unknown field."""
STREAM_USAGE: Release = (0, 3, 18)
TEXT_FORMAT: Release = (0, 3, 18)
GPT_OSS_REASONING: Release = (0, 3, 23)
"""Models of the gpt-oss kind have their reasoning in a field of its own."""
RESPONSES: Release = (0, 3, 29)
NATIVE_V1: Release = (0, 4, 0)
SEPARATE_REASONING: Release = (0, 4, 0)
"""Other models too; before, it is in the content by default."""
API_TOKENS: Release = (0, 4, 0)
PARALLEL: Release = (0, 4, 0)
"""Several predictions of one instance at once; before, one after the other."""
MESSAGES: Release = (0, 4, 1)
OVERFLOW_IN_STREAM: Release = (0, 4, 21)
"""A prompt that is too long ends a stream of status 200 with an error event; before, it is a plain 400."""
FULL_MESSAGE: Release = (0, 4, 24)
"""``reasoning_content``, ``tool_calls`` and token details are always there."""
REASONING_EFFORT: Release = (0, 4, 24)
"""Before, how much was understood is unknown; the emulator then takes it for an unknown field."""
V0_CAPABILITIES: Release = (0, 3, 16)
REASONING_BUDGET: Release = (0, 4, 24)
"""Instances of MLX models tell ``reasoning_budget_message``."""
REMAINING_TTL: Release = (0, 4, 24)


@dataclass(frozen=True, slots=True)
class Version:
    """One release, by its number."""

    release: Release

    def has(self, since: Release) -> bool:
        """Whether this release already had what came with release ``since``."""
        return self.release >= since

    @property
    def name(self) -> str:
        """The number as people write it."""
        return ".".join(map(str, self.release))


NEWEST = Version((0, 4, 25))
PROFILES = {version.name: version for version in (Version((0, 3, 5)), Version((0, 3, 31)), NEWEST)}
"""The releases on offer, by the name that ``--profile`` takes."""
