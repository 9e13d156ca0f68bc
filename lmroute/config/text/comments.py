"""The comments of a YAML file. What is in a text, quoted or not, is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import yaml

from lmroute.config.text import yaml11

if TYPE_CHECKING:
    from collections.abc import Iterator

_BEGINS = re.compile(r"(?:(?<=[ \t\ufeff])|^)#")


class Comment(NamedTuple):
    """A comment, from its ``#`` to the end of its line. Line and column are 1-based."""

    line: int
    column: int
    text: str


def comments(text: str) -> Iterator[Comment]:
    """The comments of a text, in their order. Where it is no YAML any more, every ``#`` may begin one."""
    texts, begin = _texts(text), 0
    for number, line in enumerate(yaml11.lines(text), start=1):
        for found in _BEGINS.finditer(line):
            at = begin + found.start()
            if not any(first <= at < last for first, last in texts):
                yield Comment(number, found.start() + 1, line[found.start() :].rstrip())
                break
        begin += len(line) + 1


def _texts(text: str) -> list[tuple[int, int]]:
    """Where the scalars stand: from one character up to another."""
    found = []
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.ScalarToken):
                first, last = token.start_mark.index, token.end_mark.index
                # Behind the | or > that begins a block, there may be a comment.
                found.append((text.find("\n", first) if token.style in {"|", ">"} else first, last))
    except yaml.YAMLError:
        pass
    return found
