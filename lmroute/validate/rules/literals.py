"""The rule about secrets that stand in a file, wherever in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.config.complaints import REFERENCE
from lmroute.config.keypaths import dotted, leaves, undotted
from lmroute.config.secrecy import names_secret
from lmroute.diagnostics import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.keypaths import KeyPath
    from lmroute.validate.files import File

_OPEN = "???"
_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]+@")
_USER = re.compile(r"://[^/\s]*@")


def none(file: File) -> Iterator[Diagnostic]:
    """LMR005: a text under a key that is called like a secret, a password in an address, or what has a key's shape.

    What the schemas know to be a place of secrets, the schemas judge.
    """
    judged = {undotted(finding.key) for finding in file.breaches if finding.code == "LMR005"}
    for path, value in leaves(file.reading.document, ()):
        if not any(path[: len(place)] == place for place in judged) and (found := _secret(path, value)):
            message, advice = found
            yield Diagnostic("LMR005", message, file.locate(path), dotted((*file.package, *_shown(path))), advice)


def _shown(path: KeyPath) -> KeyPath:
    """A path as far as it may be shown: in ``auth_token: {sk-123: x}`` the key is the secret itself."""
    depth = next((at for at, step in enumerate(path) if names_secret(step)), len(path))
    return path[: depth + 1]


def _secret(path: KeyPath, value: Any) -> tuple[str, str] | None:
    """What is wrong with a value, and what to do; the value itself is never shown."""
    key = next((step for step in reversed(path) if not step.isdecimal()), "")
    if names_secret(key) and _is_literal(value):
        if "${" in str(value):
            return "an interpolation writes the secret itself into the configuration", REFERENCE
        return "a secret must not stand in the configuration", REFERENCE
    if isinstance(value, str) and (_USER if key == "endpoint" else _PASSWORD).search(value):
        return "an address with a user name or password in it", f"leave them out; {REFERENCE}"
    if isinstance(value, str) and redact.text(value) != value:
        return "this looks like a key, and one must not stand in the configuration", REFERENCE
    return None


def _is_literal(value: Any) -> bool:
    return (isinstance(value, (str, bytes)) and value not in {"", b"", _OPEN}) or type(value) in {int, float}
