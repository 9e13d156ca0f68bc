"""What Hydra refuses to compose, said word for word of the command line.

Hydra stops at the first thing that it cannot do. A person wants to hear of all of them, so each word is read by itself,
and then the words are applied one after the other to what the good ones make.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from lmroute.config import complaints
from lmroute.config.keypaths import undotted
from lmroute.config.paths import options
from lmroute.config.schema import known_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

    from lmroute.config.keypaths import KeyPath
    from lmroute.diagnostics import Diagnostic

    _Load: TypeAlias = Callable[[Sequence[str]], DictConfig]

_MOST = 30
"""Overrides up to which each is tried by itself; a composition takes a while."""


def refused(
    error: Exception, overrides: Sequence[str], loader: ConfigLoader, load: _Load, *, sweep: bool = False
) -> list[Diagnostic]:
    """Everything that is wrong with a command line that could not be composed; at least the error itself.

    Args:
        load: composes other overrides; raises what Hydra and OmegaConf raise.
        sweep: an override may have several values.
    """
    if isinstance(error, yaml.MarkedYAMLError):
        return [complaints.syntax(error)]
    misread: list[Diagnostic] = []
    words: list[Override] = []
    doubtful: set[str] = set()
    for text in overrides:
        found, word = _read(text, loader)
        misread += found
        if word is not None and found:
            doubtful.add(word.key_or_group)
        elif word is not None:
            words.append(word)
    return misread + _inapplicable(words, doubtful, load, sweep=sweep) or [_complaint(error, overrides, load)]


def _read(text: str, loader: ConfigLoader) -> tuple[list[Diagnostic], Override | None]:
    """What is wrong with an override by itself: it cannot be read, or chooses what there is not."""
    try:
        [word] = OverridesParser.create(config_loader=loader).parse_overrides([text])
    except HydraException as error:
        return [complaints.unparsable(text, getattr(error, "message", str(error)))], None
    group = word.key_or_group
    known = sorted({*options(group), *loader.get_group_options(group)})
    if word.is_delete() or not known:
        return [], word
    try:
        wanted = list(_names(word.value()))
    except ValueError:
        return [complaints.no_choice(group, known, text)], word
    return [complaints.missing_option(group, name, known, (text,)) for name in wanted if name not in known], word


def _names(value: Any) -> Iterator[str]:
    """The option names in a group override's value: one, a list, a sweep over either. ValueError for anything else."""
    match value:
        case "" | None | bool() | int() | float() | dict():
            raise ValueError
        case list() if any(isinstance(item, list) for item in value):
            raise ValueError
        case ChoiceSweep():
            for choice in value.list:
                yield from _names(choice)
        case list():
            for item in value:
                yield from _names(item)
        case str() | QuotedString():
            yield value if isinstance(value, str) else value.text


def _inapplicable(words: Sequence[Override], doubtful: set[str], load: _Load, *, sweep: bool) -> list[Diagnostic]:
    """What each word gets wrong that is applied to those before it. What a misread choice would bring is not judged."""
    if len(words) > _MOST:
        return []
    choices = [word for word in words if _is_choice(word)]
    good: list[str] = []
    found: list[Diagnostic] = []
    for word in (*choices, *(word for word in words if word not in choices)):
        text = word.input_line or ""
        if _depends(word, doubtful):
            continue
        try:
            one = _first_value(word) if sweep and word.is_sweep_override() else text
            load([*good, one])
        except Exception as error:  # noqa: BLE001  on odd input Hydra lets TypeErrors and assertions escape
            found.append(_complaint(error, (*good, text), load, guilty=text))
        else:
            good.append(one)
    return found


def _first_value(word: Override) -> str:
    """An override that sweeps, with the first of its values. HydraException when they cannot be counted."""
    if not word.is_discrete_sweep():
        raise HydraException("these values cannot be counted; write them as a,b,c or range(0,3)")
    value = next(iter(word.sweep_string_iterator()), None)
    if value is None:
        raise HydraException("the pattern fits none of the group's files, so there is nothing to sweep over")
    return f"{word.get_key_element()}={value}"


def _is_choice(word: Override) -> bool:
    return word.package is not None or "/" in word.key_or_group or bool(options(word.key_or_group))


def _depends(word: Override, doubtful: set[str]) -> bool:
    """Whether a word is about what a misread choice would have brought."""
    first = undotted(word.key_or_group)[:1]
    brought = {"providers" if group == "provider" else group.partition("/")[0] for group in doubtful}
    return bool(brought) and ("experiment" in brought or not brought.isdisjoint(first))


def _complaint(error: Exception, overrides: Sequence[str], load: _Load, guilty: str = "") -> Diagnostic:
    """One diagnostic for what was raised. ``guilty``: the override that is known to be the reason."""
    match error:
        case yaml.MarkedYAMLError():
            return complaints.syntax(error)
        case OverrideParseException():
            return complaints.unparsable(error.override, error.message)
        case MissingConfigException():
            group, _, name = (error.missing_cfg_file or "").rpartition("/")
            return complaints.missing_option(group, name, error.options or options(group), overrides)
        case _:
            return _refusal(error, overrides, load, guilty)


def _refusal(error: Exception, overrides: Sequence[str], load: _Load, guilty: str) -> Diagnostic:
    cause = error.__cause__
    message = str(error) or str(cause)
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)):
        key = re.match(r"Could not override '(.*)'", message)
        override = guilty or complaints.override_of(key[1] if key else "", overrides)
        known = _known(load)
        return complaints.absent_key(cause.full_key or "", override, _selected(overrides, load), known)
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'", message):
        return complaints.several_values(several[1])
    if absent := re.match(r"Could not delete (?:from config\. )?'([^'=]*)", message):
        word = guilty or complaints.override_of(absent[1], overrides) or f"~{absent[1]}"
        return complaints.nothing_to_delete(absent[1], word, _known(load))
    if message.startswith("Error merging override") and isinstance(cause, OmegaConfBaseException | ValueError):
        message = str(cause)
    return complaints.other(message, [guilty] if guilty else overrides)


def _known(load: _Load) -> Callable[[KeyPath], Iterable[str]]:
    """The keys of a mapping that schemas, or Hydra's own configuration, allow."""

    def known(path: KeyPath) -> Iterable[str]:
        if path[:1] != ("hydra",):
            return known_keys(path)
        node: Any = load(())
        for step in path:
            node = node.get(step) if hasattr(node, "get") else None
        return [str(key) for key in node] if hasattr(node, "keys") else []

    return known


def _selected(overrides: Sequence[str], load: _Load) -> list[str]:
    """The provider profiles that the group choices among the overrides select."""
    choices = [o for o in overrides if re.match(r"[+~]?(provider|experiment)(@|=|$)", o)]
    try:
        return [str(name) for name in load(choices).providers]
    except Exception:  # noqa: BLE001  the choices are what is wrong; that is said elsewhere
        return []
