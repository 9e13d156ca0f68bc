"""A policy as it is named on the command line: an option, a file, or either of them as git has it.

    local_first                 the option of that name, composed as ``routing=local_first``
    policies/mine.yaml          a file, put in the place of the composed ``routing``
    main:local_first            the option as it is in a revision of git
    main:policies/mine.yaml     the file as it is there, from the current directory

Whoever wants to look at a policy may have to look at a bad one. So only what cannot be read is an error here; what
is wrong with the policy otherwise comes as warnings.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.cli.policy.revision import in_revision
from lmroute.config import paths
from lmroute.config.complaints import did_you_mean
from lmroute.config.compose import compose, exchanged
from lmroute.config.decode import decode
from lmroute.config.provenance import Source, Trace
from lmroute.config.text import malformed, yaml11
from lmroute.diagnostics import Diagnostic, Location, Severity
from lmroute.errors import ConfigError, LmrouteError
from lmroute.validate import Checked
from lmroute.validate.pipeline import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.config.compose import Composition

_GROUP = "routing"
_REVISION = re.compile(r"(?![A-Za-z]:[\\/])([^:]+):(.+)")
"""A git revision and what to take of it; ``C:\\policies`` is a file of Windows."""
_OF_CONDUCT = ("LMR3", "LMR4")
_UNREADABLE = {"LMR310", "LMR311"}
"""Of the findings about what a policy does, those that leave nothing to do: attributes that cannot be."""


def policy_of(word: str | None, overrides: Sequence[str] = ()) -> Checked:
    """A stack with the policy that a word names, and what the overrides choose otherwise.

    Args:
        word: see this module; ``None`` takes the policy that the overrides choose.

    Raises LmrouteError when there is no such policy or the overrides choose one besides, ConfigError when it, or the
    rest of the configuration, cannot be read.
    """
    if word is None:
        return readable(compose(overrides))
    _require_one(word, overrides)
    revision = _REVISION.fullmatch(word)
    if word.endswith((".yaml", ".yml")) and (revision is None or Path(word).is_file()):
        return readable(_replaced(compose(overrides), _text(Path(word)), Path(word)))
    if revision:
        text, shown = in_revision(revision[1], revision[2])
        return readable(_replaced(compose(overrides), text, Path(shown)))
    return readable(compose([*overrides, f"{_GROUP}={_option(word)}"]))


def readable(composition: Composition) -> Checked:
    """A composition decoded, however bad its policy is. Raises ConfigError when it cannot be read."""
    found = judge(composition)
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    if not all(finding.code.startswith(_OF_CONDUCT) and finding.code not in _UNREADABLE for finding in errors):
        raise ConfigError(errors)
    return Checked(decode(composition.document), composition.locate, tuple(found))


def reservations(checked: Checked) -> str:
    """What would keep a run from using the policy, in a line for stderr; empty when nothing would."""
    errors = [finding for finding in checked.warnings if finding.severity is Severity.ERROR]
    found = ", ".join(f"{finding.code} at {finding.location}" for finding in errors)
    return f"note: a run would refuse this policy ({found}); lmroute validate tells more\n" if errors else ""


def _option(name: str) -> str:
    known = paths.options(_GROUP)
    if name not in known:
        advice = did_you_mean(name, known) or f"there are {', '.join(known)}"
        raise LmrouteError(f"there is no policy '{name}': {advice}\n  help: a file is named with its ending, x.yaml")
    return name


def _require_one(word: str, overrides: Sequence[str]) -> None:
    """Raises LmrouteError when the overrides choose a policy too: whichever were taken, one would be ignored."""
    for override in overrides:
        if override.partition("=")[0].lstrip("+~") == _GROUP:
            raise LmrouteError(f"'{word}' and '{override}' both choose the policy: leave out {override}")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise LmrouteError(f"{file}: cannot be read: {reason}") from None


def _replaced(base: Composition, text: str, file: Path) -> Composition:
    """A composition with the policy of a text in the place of its own."""
    reading = yaml11.read(text)
    if reading.error:
        raise ConfigError([malformed.diagnosis(reading.error, text, paths.shown(file))])
    if not isinstance(reading.document, dict):
        raise ConfigError([Diagnostic("LMR103", "is no mapping: a policy has a name and rules", _start(file))])

    def traced() -> Trace:
        trace = base.trace
        others = tuple(source for source in trace.sources if source.package[:1] != (_GROUP,))
        settings = tuple(setting for setting in trace.settings if setting.path[:1] != (_GROUP,))
        return replace(trace, sources=(*others, Source(file, (_GROUP,), _GROUP, text=text)), settings=settings)

    return exchanged(base, {_GROUP: reading.document}, base.overrides, traced)


def _start(file: Path) -> Location:
    return Location(paths.shown(file), 1, 1)
