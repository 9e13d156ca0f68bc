"""The rule about defaults lists: what they choose is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.config.complaints import did_you_mean
from lmroute.config.defaults import choices
from lmroute.config.keypaths import dotted
from lmroute.config.packages import GROUPS
from lmroute.config.paths import options
from lmroute.diagnostics import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.defaults import Choice
    from lmroute.validate.files import File


def there(file: File) -> Iterator[Diagnostic]:
    """LMR204: a defaults list chooses a file that is not there."""
    for choice in choices(file.reading.document, file.group):
        if not choice.exists:
            message, advice = _absent(choice)
            yield Diagnostic("LMR204", message, file.locate(choice.path), dotted(choice.path), advice)


def _absent(choice: Choice) -> tuple[str, str]:
    known = options(choice.group)
    if known:
        hint = did_you_mean(choice.name, known) or f"there are {', '.join(known)}"
        return f"there is no {choice.group} '{choice.name}'", hint
    if choice.written != choice.group and options(choice.written):  # `override provider:` in an experiment
        return f"there is no group '{choice.group}'", f"begin it with a slash: /{choice.written}"
    hint = did_you_mean(choice.written, GROUPS) or f"there are {', '.join(GROUPS)}"
    return f"there is no group '{choice.written}'", hint
