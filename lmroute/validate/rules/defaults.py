"""The rule about defaults lists: what they choose is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.config.complaints import did_you_mean
from lmroute.config.defaults import choices
from lmroute.config.keypaths import dotted
from lmroute.config.packages import GROUPS
from lmroute.config.paths import options
from lmroute.diagnostics import Diagnostic

_WORDS = ("override", "optional")
"""What Hydra knows before a group in a defaults list."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.defaults import Choice
    from lmroute.validate.files import File


def there(file: File) -> Iterator[Diagnostic]:
    """LMR204: a defaults list chooses a file that is not there, or says so in words that Hydra does not know."""
    for choice in choices(file.reading.document, file.group):
        if unknown := [word for word in choice.words if word not in _WORDS]:
            message = f"'{unknown[0]}' means nothing here, so this is chosen beside what config.yaml chooses"
            advice = did_you_mean(unknown[0], _WORDS) or f"write `override /{choice.written}`"
            yield Diagnostic("LMR204", message, file.locate(choice.path, key=True), dotted(choice.path), advice)
        if not choice.exists:
            message, advice = _absent(choice)
            yield Diagnostic("LMR204", message, file.locate(choice.path), dotted(choice.path), advice)


def instead(file: File) -> Iterator[Diagnostic]:
    """LMR205: an experiment that chooses beside config.yaml's choice, where it may mean instead of it."""
    if file.group != "experiment":
        return
    for choice in choices(file.reading.document, file.group):
        if choice.exists and choice.group in GROUPS and choice.group != file.group and not choice.words:
            message = f"this is chosen beside the {choice.group} that config.yaml chooses, not instead of it"
            advice = f"if it is meant instead, write `override /{choice.group}: …`"
            yield Diagnostic("LMR205", message, file.locate(choice.path, key=True), dotted(choice.path), advice)


def _absent(choice: Choice) -> tuple[str, str]:
    known = options(choice.group)
    if known:
        hint = did_you_mean(choice.name, known) or f"there are {', '.join(known)}"
        return f"there is no {choice.group} '{choice.name}'", hint
    if choice.written != choice.group and options(choice.written):  # `override provider:` in an experiment
        return f"there is no group '{choice.group}'", f"begin it with a slash: /{choice.written}"
    hint = did_you_mean(choice.written, GROUPS) or f"there are {', '.join(GROUPS)}"
    return f"there is no group '{choice.written}'", hint
