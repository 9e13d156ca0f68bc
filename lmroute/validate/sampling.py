"""Which compositions to judge when nobody says which: the defaults, each option on top of them, each experiment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute.config.text.yaml11 import TooMuch
from lmroute.validate.written import Written

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from lmroute.validate.files import File

EXPERIMENT = "experiment"
_PROVIDER, _POLICY = "provider", "routing"
_BARE = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z_][\w/-]*", re.IGNORECASE)
"""A name that Hydra's grammar reads as a text without quotes."""

_WORD = re.compile(r"[\w-]+")
_OPTION = re.compile(r"[\w/.-]+")

_Options: TypeAlias = "Mapping[tuple[str, str], File]"
_Chosen: TypeAlias = "Mapping[str, list[str]]"


@dataclass(frozen=True, slots=True)
class Choice:
    """A command line to judge. ``option`` is the file that is the reason for it; None for the defaults."""

    overrides: tuple[str, ...]
    option: File | None = None


def sample(files: Sequence[File], unsound: Collection[File] = ()) -> list[Choice]:
    """The defaults first, then each other option of their groups, then the experiments.

    A policy goes with the providers that it names. Unsound files are left out, of the defaults too, so that they do
    not hide what is wrong with the others. Nothing at all when there is no composing without them.
    """
    root = next((file for file in files if file.contract == "config"), None)
    if root is None or root in unsound:
        return []
    options = {(file.group, file.name): file for file in reversed(files) if file.path.suffix == ".yaml"}
    sound = {key: options[key] for key in sorted(options) if options[key] not in unsound}
    groups = {group for group, _ in options if group}
    defaults = {group: names for group, names in default_options(root).items() if group in groups}
    chosen = {group: _sound(group, names, sound) for group, names in defaults.items()}
    if any(defaults[group] and not names for group, names in chosen.items()):
        return []
    words = {group: _override(group, names) for group, names in chosen.items() if names != defaults[group]}
    others = {key: file for key, file in sound.items() if key[0] in defaults and chosen[key[0]] != [key[1]]}
    tried = {key: file for key, file in sound.items() if key[0] == EXPERIMENT and key not in others}
    return [
        Choice(tuple(words.values())),
        *(Choice(_on_top(words, file, chosen, sound), file) for file in others.values()),
        *(Choice((*words.values(), f"+{_override(EXPERIMENT, [file.name])}"), file) for file in tried.values()),
    ]


def _on_top(words: Mapping[str, str], file: File, chosen: _Chosen, sound: _Options) -> tuple[str, ...]:
    """The overrides that choose an option, and what it needs, on top of those for the defaults."""
    needed = {**words, **_providers_of(file, chosen, sound)}
    return (*(word for group, word in needed.items() if group != file.group), _override(file.group, [file.name]))


def _providers_of(file: File, chosen: _Chosen, sound: _Options) -> dict[str, str]:
    """The selection of providers with those that a policy names and that would else not be there."""
    document = file.reading.document if file.group == _POLICY else None
    uses = Written(document, (), file.locate, frozenset()).uses() if isinstance(document, dict) else ()
    named = dict.fromkeys(use.partition("/")[0] for _, use in uses if isinstance(use, str))
    selected = chosen.get(_PROVIDER, [])
    missing = [name for name in named if (_PROVIDER, name) in sound and name not in selected]
    return {_PROVIDER: _override(_PROVIDER, [*selected, *missing])} if missing else {}


def default_options(root: File) -> dict[str, list[str]]:
    """The options that the defaults list of ``config.yaml`` chooses, by group."""
    document = root.reading.document
    listed = document.get("defaults") if isinstance(document, dict) else None
    entries = [entry for entry in _items(listed) if isinstance(entry, dict)]
    pairs = [(str(key).rpartition(" ")[2].lstrip("/"), value) for entry in entries for key, value in entry.items()]
    return {group: _names(value) for group, value in pairs if "@" not in group and not group.startswith("hydra/")}


def mentioned(files: Sequence[File], overrides: Iterable[str]) -> list[File]:
    """The files that a command line may mean, where it cannot be composed and so nobody can say which it does."""
    keys = {word.partition("=")[0].lstrip("+~") for word in overrides}
    words = words_of(" ".join(overrides))
    found: list[File] = []
    pending = [file for file in files if file.contract == "config"]
    while pending:
        found += pending
        for file in pending:
            words.update(name for group, names in default_options(file).items() if group not in keys for name in names)
        pending = [f for f in files if f.name in words and f not in found and not f.is_policy_test]
    return found


def endless(files: Sequence[File], overrides: Iterable[str]) -> list[File]:
    """The files that a command line chooses and that nobody can compose: Hydra would never be done with them."""
    options = {f"{file.group}/{file.name}": file for file in reversed(files) if file.path.suffix == ".yaml"}
    typed = dict(_typed(word) for word in overrides)
    named = [f"{key.partition('@')[0]}/{name}" for key, names in typed.items() for name in names]
    roots = [file for file in files if file.contract == "config"]
    choices: dict[str, list[str]] = {}
    for file in (*roots, *(options[name] for name in named if name in options)):
        choices.update(default_options(file))  # an experiment's come after those of config.yaml
    chosen = [f"{group}/{name}" for group, names in choices.items() if group not in typed for name in names]
    taking_part = [*roots, *(options[name] for name in dict.fromkeys([*named, *chosen]) if name in options)]
    return [file for file in taking_part if isinstance(file.reading.error, TooMuch)]


def _typed(override: str) -> tuple[str, list[str]]:
    """The group that an override may be about, and the options that it chooses of it."""
    key, _, value = override.partition("=")
    return key.lstrip("+~"), [] if key.startswith("~") else _OPTION.findall(value)


def words_of(text: str) -> set[str]:
    """The names that a command line or a key may speak of."""
    return set(_WORD.findall(text))


def _sound(group: str, names: list[str], sound: _Options) -> list[str]:
    """Options of a group without those that are broken or not there; when none is left, the first sound one."""
    left = [name for name in names if (group, name) in sound]
    return left or [name for other, name in sound if names and other == group][:1]


def _override(group: str, names: list[str]) -> str:
    shown = [name if _BARE.fullmatch(name) else f"'{name}'" for name in names]
    return f"{group}={shown[0]}" if len(shown) == 1 else f"{group}=[{','.join(shown)}]"


def _names(value: object) -> list[str]:
    return [str(name) for name in (value if isinstance(value, list) else [value]) if name is not None]


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
