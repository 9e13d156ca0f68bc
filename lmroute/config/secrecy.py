"""What a message may show of the user's input: people paste secrets where references belong."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SECRET_NAME = re.compile(
    r"api[_-]?key|auth(?!or)|bearer|credential|passw|secret|token(?!s|_s)|(?:^|[_.-])key$", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"://\S*@|\bsk-|\b(?:key|token)=|\bbearer\b", re.IGNORECASE)
_LONGEST = 60
_LONGEST_WHOLE = 200
_SHORTEST = 6
"""Characters of the shortest value of a variable that is looked for in messages."""
_CUT = 40
"""Characters of a longer one that are looked for: messages cut what they quote."""
_KEY = re.compile(r"([\w.-]+)[\"']?\s*[:=]\s*")
_FIRST = re.compile(r"[\s-]*[\"']?([\w.-]+)[\"']?\s*:(?:\s|$)")
"""The key that a line begins with."""
_NAME = r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"
_REFERENCE = re.compile(rf"\{{\s*env: (?:{_NAME}|\[{_NAME}(?:, {_NAME})*\])(?:, optional: (?:true|false))?\s*\}}\s*")
"""A reference to an environment variable, with a name that looks like one: the one thing to show below such a key."""
_SOURCES = frozenset({"env", "file", "command", "keyring", "optional"})


def names_secret(key: str) -> bool:
    """Whether a key's name says that its value may be a secret."""
    return bool(_SECRET_NAME.search(key))


def masked(override: str) -> str:
    """A command-line override without what may be a secret: ``providers.openai.auth_token=***``."""
    key, equals, value = override.partition("=")
    return f"{key}{equals}***" if equals and _suspect(key, value) else override


def scrubbed(text: str, overrides: Sequence[str]) -> str:
    """A text of somebody else's making, without what the overrides may have carried into it."""
    for override in overrides:
        key, _, value = override.partition("=")
        if value and _suspect(key, value):
            text = text.replace(value, "***")
    return text


def quoted(value: Any, *keys: str) -> str:
    """A value as a message shows it: short, and not at all when it or a key on the way to it is suspect."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    if _SECRET_VALUE.search(text) or any(map(names_secret, keys)):
        return "the value"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def displayed(value: Any, *keys: str) -> str:
    """A value in one line, what is inside of it too, with ``***`` for all that may be a secret."""
    text = _displayed(value, keys)
    return text if len(text) <= _LONGEST_WHOLE else f"{text[:_LONGEST_WHOLE]}…"


def _displayed(value: Any, keys: tuple[str, ...]) -> str:
    if isinstance(value, dict):
        parts = (f"{key}: {_displayed(inner, (*keys, str(key)))}" for key, inner in value.items())
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_displayed(inner, keys) for inner in value)}]"
    text = json.dumps(value, ensure_ascii=False, default=str)
    if value is None or isinstance(value, bool):
        return text
    named = keys[-1:] == ("env",) and re.fullmatch(_NAME, str(value))  # where it is, not what it is
    hidden = _SECRET_VALUE.search(text) or (any(map(names_secret, keys)) and not named)
    return "***" if hidden else text


def without_values(text: str, names: Iterable[str]) -> str:
    """A text in which the values of environment variables are replaced by how a configuration refers to them.

    Nobody can tell which variable holds a secret, and its name says more than its value. Short values stay.
    """
    for name in names:
        value, said = os.environ.get(name, ""), f"${{oc.env:{name}}}"
        for form in {value, json.dumps(value, ensure_ascii=False)[1:-1]}:
            if len(form) >= _SHORTEST:
                # What is shown may be the beginning of it only.
                rest = r"[^\s…]*" if len(form) > _CUT else ""
                text = said.join(re.split(re.escape(form[:_CUT]) + rest, text))
    return text


def hidden_from(lines: Sequence[str]) -> list[int]:
    """For each line of a YAML text, how much of it may be shown: the index from which on it may hold a secret.

    Looks at lines only, because a text that is shown is often one that cannot be read. What belongs to a suspect key
    goes on until a line begins with another key that stands no deeper.
    """
    ends, depth = [], -1
    for line in lines:
        first = _FIRST.match(line)
        if depth >= 0 and first and first.start(1) <= depth and first[1] not in _SOURCES:
            depth = -1
        if depth >= 0:
            ends.append(_indent(line))
            continue
        value = _SECRET_VALUE.search(line)
        ends.append(value.start() if value else len(line))
        suspect = next((key for key in _KEY.finditer(line) if names_secret(key[1])), None)
        if suspect and not _REFERENCE.fullmatch(line, suspect.end()):
            ends[-1] = min(ends[-1], suspect.end())
            # Between braces, indentation says nothing.
            depth = suspect.start() if first and first[1] == suspect[1] and not re.search(r"[\[{]", line) else 0
    return ends


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _suspect(key: str, value: str) -> bool:
    return names_secret(key) or bool(_SECRET_NAME.search(value) or _SECRET_VALUE.search(value))
