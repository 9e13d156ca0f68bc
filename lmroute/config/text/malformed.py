"""What keeps a text from being YAML, said in words: PyYAML knows where, seldom why.

PyYAML's own words may quote what stands there, and an unquoted password that begins with ``*`` or ``!`` is an alias
or a tag to it. So nothing of them is shown but what is known to be harmless.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import yaml
from yaml.reader import ReaderError

from lmroute.config.secrecy import quoted
from lmroute.config.text import yaml11
from lmroute.diagnostics import Diagnostic, Location, Related

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNSPACED = re.compile(r"\s*(?:- )?([a-z][a-z_]*):(?!//)\S")


class _Reading(NamedTuple):
    """A problem of PyYAML's: the pattern of its words, and ours."""

    problem: str
    message: str
    help: str = ""


_INDENT = "keys of one mapping begin in one column"
_BRACKETS = "close the bracket, or quote a text that begins with { or ["
_READINGS = (
    _Reading(r"character '\\t'", "a tab cannot stand here", "indent with spaces"),
    _Reading(r"found character '(\W)'", "a text cannot begin with {}", "put the text in quotes"),
    _Reading(r"mapping values are not allowed", "a key cannot stand here", f"quote a text with ': ' in it; {_INDENT}"),
    _Reading(r"could not find expected ':'", "neither a key with its value nor the end of a text",
             "a key ends in a colon and a space; put a text of several lines in quotes"),
    _Reading(r"undefined alias|duplicate anchor", "an alias or anchor that is not there, or is there twice",
             "quote a text that begins with * or &"),
    _Reading(r"alphabetic or numeric character", "neither an alias nor an anchor",
             "quote a text that begins with * or &"),
    _Reading(r"constructor for the tag 'tag:yaml.org,2002:value'", "a lone = means something else in YAML",
             "put it in quotes"),
    _Reading(r"constructor for the tag|tag handle|expected ' ', but|expected '!'|expected URI",
             "a tag that is not known here", "quote a text that begins with !"),
    _Reading(r"expected <block end>", "something stands here that belongs to nothing above",
             f"{_INDENT}; quote a text that has quotes or brackets in front and more behind them"),
    _Reading(r"expected ',' or", "a list or mapping in brackets has no end or no comma here", _BRACKETS),
    _Reading(r"expected the node content|did not find expected node", "a value is missing here",
             "quote a text that begins with one of , ] } |"),
    _Reading(r"unexpected end of stream", "a text in quotes has no end", "close the quotes"),
    _Reading(r"unexpected document separator", "a text in quotes has no end", "close the quotes"),
    _Reading(r"escape (?:character|sequence)", "an unknown escape in a text in double quotes",
             r"write \\ for a backslash, or use single quotes"),
    _Reading(r"hexadecimal", "an unfinished escape in a text in double quotes",
             r"write \\ for a backslash, or use single quotes"),
    _Reading(r"found another document", "several documents in one file",
             "Hydra reads one: remove the line ---, or make a file of each"),
    _Reading(r"list of mappings for merging|a mapping for merging", "<< merges mappings only", "write <<: *anchor"),
    _Reading(r"unhashable key|unacceptable key", "a list or mapping cannot be a key",
             "quote a text that begins with { or ["),
    _Reading(r"cannot be read as (?:int|float)", "looks like a number and is none", "put it in quotes"),
    _Reading(r"contains itself", "an anchor contains itself", "an alias cannot stand inside of its own anchor"),
    _Reading(r"block scalars|chomping or indentation|indentation indicator",
             "what follows | or > is no indentation", "begin the text on the next line"),
    _Reading(r"directive", "a line that begins with % is a directive", "put the text in quotes"),
)  # fmt: skip


def diagnosis(error: yaml.YAMLError, text: str, file: str) -> Diagnostic:
    """LMR001 for a text that cannot be read.

    Args:
        error: why, as ``yaml11.read`` has it.
        file: how the file is shown.
    """
    line, column = _place(error, text)
    message, advice = _words(error, text)
    return Diagnostic(
        "LMR001", f"not valid YAML: {message}", Location(file, line, column), help=advice,
        related=tuple(Related("it begins here", Location(file, *start)) for start in _beginning(error)),
    )  # fmt: skip


def _place(error: yaml.YAMLError, text: str) -> tuple[int, int]:
    """Line and column, 1-based."""
    if isinstance(error, ReaderError):
        before = yaml11.lines(text[: int(error.position)])
        return len(before), len(before[-1]) + 1
    mark = _mark(error)
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _beginning(error: yaml.YAMLError) -> Iterator[tuple[int, int]]:
    """Line and column of the bracket that is still open, when that is another line."""
    mark, problem = getattr(error, "context_mark", None), getattr(error, "problem", None) or ""
    if mark and problem.startswith("expected ',' or") and mark.line + 1 != _place(error, "")[0]:
        yield mark.line + 1, mark.column + 1


def _mark(error: yaml.YAMLError) -> yaml.Mark | None:
    """Where the mistake is, which for what has no end is where it began."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return None
    began = re.search(r"could not find expected ':'|end of stream|document separator", error.problem or "")
    return (error.context_mark if began else None) or error.problem_mark or error.context_mark


def _words(error: yaml.YAMLError, text: str) -> tuple[str, str]:
    """What is wrong, and what to do."""
    if isinstance(error, ReaderError):
        return f"the character U+{_codepoint(error):04X} cannot stand in YAML", "remove it; it cannot be seen"
    problem = str(getattr(error, "problem", None) or "")
    if twice := re.match(r"found duplicate key (.*)", problem, re.DOTALL):
        return f"the key {quoted(twice[1])} stands twice in one mapping", "keep one of them"
    if unspaced := _unspaced(error, text):
        return "no space after the colon", f"write `{unspaced}: ` and then the value"
    for reading in _READINGS:
        if found := re.search(reading.problem, problem):
            return reading.message.format(*found.groups()), reading.help
    return (problem, "") if re.fullmatch(r"found more than [\w ]+", problem) else ("it cannot be read", "")


def _codepoint(error: ReaderError) -> int:
    character = error.character
    return ord(character) if isinstance(character, str) else int(character)


def _unspaced(error: yaml.YAMLError, text: str) -> str:
    """The key of a line ``key:value``, which is a text to YAML; empty when that is not what is wrong."""
    lines = yaml11.lines(text)
    mark = _mark(error)
    # The line itself is a text that goes on; the parser gives up there, or at the key that comes next.
    around = [] if mark is None else [mark.line, mark.line - 1]
    wanted = "could not find expected" in str(error) or "mapping values are not allowed" in str(error)
    for number in around if wanted else []:
        if 0 <= number < len(lines) and (key := _UNSPACED.match(lines[number])):
            return key[1]
    return ""
