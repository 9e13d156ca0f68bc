"""``lmroute why``: how a composed value came to be. Like ``git blame``, for one key."""

from __future__ import annotations

from dataclasses import asdict, dataclass, is_dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from lmroute.config import complaints, schema
from lmroute.config.decode import decode
from lmroute.config.interpolation import origin, references, target, variables
from lmroute.config.keypaths import at, dotted, inside, present, undotted
from lmroute.config.paths import options
from lmroute.config.provenance import COMMAND_LINE, UNKNOWN, Setting, Source
from lmroute.config.secrecy import displayed, masked, without_values
from lmroute.diagnostics import Diagnostic, Location
from lmroute.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.config.compose import Composition
    from lmroute.config.keypaths import KeyPath
    from lmroute.config.provenance import Write

_SILENT = {"deleted", "chosen"}
_NAMES = {"routing": "policy"}
"""Keys that ``lmroute.model`` has other names for."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a value.

    Attributes:
        did: ``set``, ``replaced``, ``merged``, ``changed inside``, ``deleted``, or ``chosen`` by the choice of a group.
        value: what was written, fit to be shown; empty where nothing was.
        chosen_by: the override or the defaults list that has the file take part; empty for the root and for overrides.
        wins: nothing later replaced or deleted it.
    """

    place: Location
    did: str
    value: str
    chosen_by: str = ""
    wins: bool = False


@dataclass(frozen=True, slots=True)
class Child:
    """A key in a mapping, or a position in a list, and who set it."""

    key: str
    value: str
    place: Location


@dataclass(frozen=True, slots=True)
class History:
    """How one key got its value.

    Attributes:
        value: what it ended as, fit to be shown; empty when it is not set.
        is_set: whether the composed document has the key.
        note: what is to be said of a key that is not set.
        came_from: by reference as it is written, the histories of the keys that the value was taken from.
    """

    key: str
    value: str
    is_set: bool
    steps: tuple[Step, ...] = ()
    children: tuple[Child, ...] = ()
    came_from: tuple[tuple[str, History], ...] = ()
    note: str = ""

    def as_data(self) -> dict[str, Any]:
        """The history as JSON has it."""
        shown = asdict(self)
        shown["came_from"] = [{"reference": text, **inner.as_data()} for text, inner in self.came_from]
        return shown


def history(composition: Composition, key: str) -> History:
    """The history of a key of a composed configuration, written as on the command line.

    Raises ConfigError when there is no such key, naming the nearest one or what has to be chosen first.
    """
    path = undotted(key)
    exists = bool(path) and _exists(composition.document, path)
    if not (exists or _deleted(composition, path) or _known(composition, path)):
        raise ConfigError([_no_such_key(composition, key, path)])
    return _told(composition, path, ())


def _shown(value: Any, path: KeyPath, composition: Composition) -> str:
    return without_values(displayed(value, *path), variables(composition.written))


def _told(composition: Composition, path: KeyPath, above: tuple[KeyPath, ...]) -> History:
    """The history of a path; ``above`` are the paths whose histories it is part of, for references in a circle."""
    exists = _exists(composition.document, path)
    value = at(composition.document, path)
    steps = tuple(_steps(composition, path))
    return History(
        key=dotted(path),
        value=_shown(value, path, composition) if exists else "",
        is_set=exists,
        steps=steps,
        children=tuple(_children(composition, path, value)),
        came_from=tuple(_came_from(composition, path, above)) if exists else (),
        note="" if exists else _absence(composition, path, steps),
    )


def _steps(composition: Composition, path: KeyPath) -> Iterator[Step]:
    """What was written at a path, or over it, or into the list that stands there."""
    own = {id(write.by) for write in composition.trace.writes if write.path == path}
    concerned = [write for write in composition.trace.writes if _concerns(write, path)]
    # A list that brings the item says so where the item stands.
    writes = [write for write in concerned if len(write.path) >= len(path) or id(write.by) not in own]
    there = False
    for index, write in enumerate(writes):
        later = writes[index + 1 :]
        lost = any(not other.merges and len(other.path) <= len(path) for other in later)
        did, there = _did(write, path, there=there)
        source = write.by if isinstance(write.by, Source) else None
        yield Step(
            place=write.mark.value if source is None or write.path else source.place,
            did=did,
            value="" if did in _SILENT else displayed(write.value, *write.path),
            chosen_by=masked(source.chosen_by) if source else "",
            wins=not lost and not write.deletes,
        )


def _concerns(write: Write, path: KeyPath) -> bool:
    depth = len(write.path)
    if depth < len(path):  # what stood inside is gone, or brought by a reference
        return write.path == path[:depth] and bool(path[:depth]) and not write.merges
    # A list's items are part of its value, except when an override changes one by itself.
    single = not isinstance(write.by, Source) and write.by.path == write.path and depth == len(path) + 1
    return write.path == path or (single and write.path[:-1] == path and write.path[-1].isdecimal())


def _did(write: Write, path: KeyPath, *, there: bool) -> tuple[str, bool]:
    """What a write did to a path, and whether there is something afterwards."""
    if write.deletes:
        return "deleted", False
    if isinstance(write.by, Setting) and _key_of(write.by)[:1] != path[:1]:
        return "chosen", True
    if len(write.path) > len(path):
        return "changed inside", True
    if there and not write.merges:
        return "replaced", True
    return ("merged" if there else "set"), True


def _key_of(setting: Setting) -> KeyPath:
    return undotted(setting.text.partition("=")[0].lstrip("+~"))


def _children(composition: Composition, path: KeyPath, value: Any) -> Iterator[Child]:
    if isinstance(value, dict):
        for key, inner in value.items():
            here = (*path, str(key))
            place = composition.locate(origin(composition.written, here))
            yield Child(str(key), _shown(inner, here, composition), place)


def _came_from(composition: Composition, path: KeyPath, above: tuple[KeyPath, ...]) -> Iterator[tuple[str, History]]:
    """The references that a value was made of; of a value inside of what a reference brings, that one."""
    for depth in range(1, len(path) + 1):
        written, rest = at(composition.written, path[:depth]), path[depth:]
        if rest and target(written, path[:depth]) is None:
            continue
        for text, there in references(written, path[:depth]):
            whole = (*there, *rest)
            if whole not in above and whole != path:
                yield text, _told(composition, whole, (*above, path))
        if rest:
            return


def _absence(composition: Composition, path: KeyPath, steps: tuple[Step, ...]) -> str:
    if steps and steps[-1].did == "deleted":
        return "deleted"
    default = "" if composition.faults else _default(composition.document, path)
    return f"not set; the default is {default}" if default else "not set"


def _default(document: dict[str, Any], path: KeyPath) -> str:
    """What the program takes for a key that is not set; empty when that cannot be said."""
    if schema.check(document, _nowhere):
        return ""
    node: Any = decode(document)
    for step in path:
        if isinstance(node, dict):
            node = node.get(step)
        elif isinstance(node, tuple) and step.isdecimal():
            node = node[int(step)] if int(step) < len(node) else None
        else:
            name = _NAMES.get(step, step)
            if not (is_dataclass(node) and hasattr(node, name)):
                return ""
            node = getattr(node, name)
    if node is None or is_dataclass(node):
        return ""
    plain = sorted(map(str, node)) if isinstance(node, frozenset) else list(node) if isinstance(node, tuple) else node
    return displayed(plain, *path)


def _nowhere(path: KeyPath, *, key: bool = False) -> Location:
    del path, key
    return UNKNOWN


def _known(composition: Composition, path: KeyPath) -> bool:
    """Whether the schemas have the key, and what it belongs to has been chosen."""
    chosen = path[:1] != ("providers",) or _exists(composition.document, path[:2])
    return chosen and path[-1:] != () and path[-1] in schema.known_keys(path[:-1])


def _deleted(composition: Composition, path: KeyPath) -> bool:
    return any(write.deletes and write.path == path[: len(write.path)] for write in composition.trace.writes)


def _no_such_key(composition: Composition, key: str, path: KeyPath) -> Diagnostic:
    place = Location(COMMAND_LINE, override=masked(key))
    if not path:
        return Diagnostic("LMR201", "that is no key", place, help="name one: lmroute why task.limit")
    document = composition.document
    selected = [str(name) for name in document.get("providers") or ()]
    if path[:1] == ("provider",):
        instead = dotted(("providers", *path[1:]))
        return Diagnostic("LMR201", "provider is a choice, not a key", place, key, f"lmroute why {instead}")
    if path[:1] == ("hydra",):
        return Diagnostic("LMR201", "Hydra's own settings are no part of it", place, key, "python run.py --cfg hydra")
    if len(path) > 1 and path[0] == "providers" and path[1] not in selected:
        message, advice = complaints.unselected(path[1], selected)
        return Diagnostic("LMR201", message, place, key, advice)
    near = chain(map(dotted, _paths(document, ())), _siblings(document, path))
    advice = complaints.did_you_mean(key, near) or _there_are(document)
    return Diagnostic("LMR201", "there is no such key", place, key, advice)


def _siblings(document: dict[str, Any], path: KeyPath) -> Iterator[str]:
    """The keys that the schemas allow where a path begins to be wrong."""
    present = next((path[:n] for n in range(len(path) - 1, 0, -1) if _exists(document, path[:n])), ())
    for name in schema.known_keys(present):
        yield dotted((*present, name, *path[len(present) + 1 :]))


def _there_are(document: dict[str, Any]) -> str:
    return f"there are {', '.join(document)}; the groups are {', '.join(g for g in document if options(g))}"


def _paths(node: Any, path: KeyPath) -> Iterator[KeyPath]:
    for step, inner in inside(node).items():
        yield (*path, step)
        yield from _paths(inner, (*path, step))


def _exists(node: Any, path: KeyPath) -> bool:
    return present(node, path) == path
