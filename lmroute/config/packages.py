"""Where Hydra puts a file in the composed document, as its first comment lines say."""

from __future__ import annotations

import re

GROUPS = {
    "provider": "providers.{}",
    "routing": "routing",
    "task": "task",
    "adapter": "",
    "telemetry": "telemetry",
    "health": "health",
    "experiment": "",
}
"""The groups, and the composed key at which the files of each belong; ``{}`` is the file's stem."""

POLICY_TESTS = "routing/tests"
"""The folder of policy tests. No group: Hydra never reads them, ``lmroute policy test`` does."""

_WHOLE = "_global_"
_HEADER = re.compile(r"#\s*@")
_SEEN = 512
"""Characters of a file in which Hydra looks for its header."""


def belongs(group: str, stem: str) -> str:
    """The composed key at which a file of a group belongs; empty for the document itself."""
    return GROUPS[group].format(stem)


def line(package: str) -> str:
    """The header that puts a file at a key."""
    return f"# @package {package or _WHOLE}"


def header(text: str) -> str | None:
    """The package that a file's header names. It begins the file: a line that is no header ends the search.

    Raises ValueError for a header that Hydra refuses.
    """
    found = None
    for written in text[:_SEEN].splitlines():
        if not written.strip():
            continue
        if not _HEADER.match(written.strip()):
            break
        words = [word for word in written.strip().lstrip("#").strip().split(" ") if word]
        if len(words) != 2:  # noqa: PLR2004  a keyword and its value
            raise ValueError("a header is a keyword and one value")
        found = words[1] if words[0] == "@package" else found
    return found


def composed(written: str | None, group: str) -> str:
    """The composed key at which a header puts a file of a group; empty for the document itself."""
    package = group.replace("/", ".") if written is None else written
    _, whole, after = package.rpartition(_WHOLE)
    return after[1:] if whole else package
