"""What an emulator does wrong on purpose. Everything is off until a test or a person turns it on."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from lmroute.emulator.machine.clock import LONGEST_S
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

_SCOPE_KEY = "lmroute.faults"
_CHOICES = {
    "download": ("paused", "failed"),
    "failure": ("crash", "unloaded", "compute"),
    "overflow": ("E10", "E11", "E12", "E14"),
}


@dataclass(frozen=True, slots=True)
class Faults:
    """A set of faults, and which requests meet them.

    Attributes:
        path: only requests for this path meet them; empty means every path but the emulator's own.
        times: only so many requests meet them, then all is well again; ``None`` means all of them.
        hang: never answer, not even with a status.
        drip: send bodies at so many bytes a second.
        reset_after_bytes: break the connection after so many bytes of the body.
        html_500: answer with status 500 and a page of HTML.
        truncated_json: end the body in the middle.
        keep_alive_s: seconds after which an idle connection is closed; ``None`` means LM Studio's 5.
        greeting_needs_token: ask for an API token at the greeting too, where tokens are required.
        load_failure: no model can be loaded.
        download: ``paused`` or ``failed`` is what becomes of downloads halfway; empty means that they succeed.
        window_exceeded: a generation that fills the window ends with an error, and so does every other one on
            its instance (E13).
        failure: what becomes of a generation: ``crash`` (E9), ``unloaded`` (E8), ``compute`` (E19).
        failure_after: pieces of the answer that come before that.
        overflow: how a prompt that does not fit is refused: ``E10``, ``E11``, ``E12`` (inside a stream) or
            ``E14`` (as llama-server does it); empty means as the imitated release does it.
        reasoning_only: an answer to a schema comes as the reasoning of a model that reasons, and the content is empty.
    """

    path: str = ""
    times: int | None = None
    hang: bool = False
    drip: int | None = None
    reset_after_bytes: int | None = None
    html_500: bool = False
    truncated_json: bool = False
    keep_alive_s: float | None = None
    greeting_needs_token: bool = False
    load_failure: bool = False
    download: str = ""
    window_exceeded: bool = False
    failure: str = ""
    failure_after: int = 0
    overflow: str = ""
    reasoning_only: bool = False

    def __post_init__(self) -> None:
        for name, least in (("times", 1), ("drip", 1), ("reset_after_bytes", 0), ("failure_after", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise LmrouteError(f"fault '{name}' must be at least {least}, not {value}")
        if self.keep_alive_s is not None and not 0 < self.keep_alive_s <= LONGEST_S:
            raise LmrouteError(
                f"fault 'keep_alive_s' must be more than 0 seconds and at most {LONGEST_S}, not {self.keep_alive_s}"
            )
        for name, known in _CHOICES.items():
            if getattr(self, name) not in {"", *known}:
                raise LmrouteError(f"fault '{name}' must be one of {', '.join(known)}, not '{getattr(self, name)}'")
        if self.path and not self.path.startswith("/"):
            raise LmrouteError(f"fault 'path' must start with a slash, as in /v1/models; it is '{self.path}'")

    def meets(self, path: str) -> bool:
        """Whether a request for ``path`` meets these faults."""
        return not self.path or self.path == path


NONE = Faults()
FAULT_NAMES = tuple(field.name for field in fields(Faults))


def faults_of(scope: Mapping[str, Any]) -> Faults:
    """The faults that this request meets: ``faults_of(request.scope)``."""
    return cast("Faults", scope.get(_SCOPE_KEY, NONE))


def give(scope: Scope, faults: Faults) -> None:
    """Let the request of ``scope`` meet ``faults``."""
    scope[_SCOPE_KEY] = faults


def read_faults(values: Mapping[str, Any]) -> Faults:
    """Faults from JSON values by name; a name that is absent means off.

    Raises:
        LmrouteError: when a name is unknown or a value is of another kind; the message names it.
    """
    kinds = {field.name: str(field.type) for field in fields(Faults)}
    for name, value in values.items():
        if name not in kinds:
            raise LmrouteError(f"no fault is called '{name}'; there are {', '.join(kinds)}")
        if not _fits(value, kinds[name]):
            raise LmrouteError(f"fault '{name}' must be {_WORDS.get(kinds[name], kinds[name])}")
    return Faults(**values)


_WORDS = {
    "bool": "true or false",
    "str": "a text",
    "int | None": "a whole number or null",
    "float | None": "a number or null",
}


def fault_option(text: str) -> tuple[str, Any]:
    """One fault as people write it: ``hang``, ``drip=100``, ``path=/v1/models``."""
    name, equals, value = text.partition("=")
    if not equals:
        return name, True
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _fits(value: Any, kind: str) -> bool:
    if value is None:
        return kind.endswith("| None")
    if isinstance(value, bool):
        return kind == "bool"
    if isinstance(value, int):
        return kind.startswith(("int", "float"))
    if isinstance(value, float):
        return kind.startswith("float")
    return isinstance(value, str) and kind == "str"
