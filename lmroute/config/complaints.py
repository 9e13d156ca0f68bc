"""What Hydra, OmegaConf and PyYAML complain about, said in the words of a person who writes configuration."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.config import defaults, paths
from lmroute.config.keypaths import dotted, undotted
from lmroute.config.provenance import COMMAND_LINE, Locate
from lmroute.config.secrecy import masked, names_secret, scrubbed
from lmroute.config.text import malformed, yaml11
from lmroute.diagnostics import Diagnostic, Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import yaml

    from lmroute.config.keypaths import KeyPath

REFERENCE = "secrets are references: auth_token: {env: NAME}"
"""The advice for a secret that is written out, wherever it is found."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?``, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else ""


def instead(word: str, known: Iterable[str]) -> str:
    """What to write for an unknown key: the known one it resembles, or how a secret is given."""
    return did_you_mean(word, known) or (REFERENCE if names_secret(word) else "")


def selection(ids: Iterable[str]) -> str:
    """The override that selects these providers."""
    return f"provider=[{','.join(ids)}]"


def syntax(error: yaml.MarkedYAMLError) -> Diagnostic:
    """A file that is not YAML, or has a key twice; what a check of the file by itself would say."""
    mark = error.problem_mark or error.context_mark
    file = Path(mark.name) if mark else Path("<yaml>")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):  # gone meanwhile, or never a file
        text = ""
    return malformed.diagnosis(yaml11.read(text).error or error, text, paths.shown(file))


def unparsable(override: str, message: str) -> Diagnostic:
    """An override that Hydra's grammar does not know."""
    shown = masked(override)
    reason = _first(message.removeprefix(f"Error parsing override '{override}'"))
    reason = reason.partition(" expecting {")[0]
    if reason.startswith("LexerNoViableAlt"):  # the parser's own name for "no idea"
        reason = ""
    # The reason quotes parts of the override, so it goes where the override goes.
    detail = f": {reason}" if reason and shown == override else ""
    advice = """quote a value with special characters twice: 'key="value"'""" if "=" in override else "write key=value"
    return Diagnostic("LMR201", f"this override cannot be read{detail}", _command_line(shown), help=advice)


def missing_option(group: str, name: str, known: Sequence[str], overrides: Sequence[str]) -> Diagnostic:
    """A file that a group does not have."""
    override = override_of(group, overrides)
    place = _command_line(masked(override)) if override else defaults.place_of(group, name)
    listed = f"there are {', '.join(known)}" if known else f"there is no group '{group}'"
    return Diagnostic(
        code="LMR201",
        key=group,
        message=f"there is no {group} '{_option(name, override)}'",
        location=place,
        help=_unread(group, name, known) or did_you_mean(name, known) or listed,
    )


def _option(name: str, override: str) -> str:
    """An option's name, unless the override that chose it may hold a secret: then nowhere in a message."""
    return name if masked(override) == override else "***"


def _unread(group: str, name: str, known: Sequence[str]) -> str:
    """Advice about a file that is there, in a `conf` that is not taken for ours."""
    folder = Path("conf", group)
    if not known or name not in {file.stem for file in folder.glob("*.yaml")}:
        return ""
    file, marker = f"{folder.as_posix()}/{name}.yaml", Path("conf", paths.MARKER)
    if marker.is_file():
        return f"{file} is not read, because conf belongs to another user"
    return f"{file} is not read without {marker.as_posix()}, which makes conf lmroute's: lmroute init"


def no_choice(group: str, known: Sequence[str], override: str) -> Diagnostic:
    """A group override whose value is no name of a file."""
    what = "one profile, or a list of them" if group == "provider" else "the name of one of its files"
    place = _command_line(masked(override))
    return Diagnostic("LMR201", f"{group} takes {what}", place, group, f"there are {', '.join(known)}")


def nothing_to_delete(key: str, override: str, known_keys: Callable[[KeyPath], Iterable[str]]) -> Diagnostic:
    """A ``~key`` where nothing is set."""
    path, place = undotted(key), _command_line(masked(override))
    if key == "provider":
        advice = "profiles are left out by choosing the others: provider=[a,b]"
        return Diagnostic("LMR201", "a choice of several profiles cannot be deleted", place, key, advice)
    known = list(known_keys(path[:-1]))
    if path and path[-1] in known:
        return Diagnostic("LMR201", "there is nothing to delete: it is null or not set", place, dotted(path))
    return Diagnostic("LMR201", "there is no such key to delete", place, dotted(path), did_you_mean(key, known))


def several_values(override: str) -> Diagnostic:
    """A sweep where there is only one run."""
    group = override.partition("=")[0]
    if group in {"routing", "task", "adapter", "telemetry", "health"}:
        advice = "choose one; to try each of them, add -m"
    elif " " in override:
        advice = """a comma separates values; quote a text twice: 'key="one, two"'"""
    else:
        advice = "a list is written key=[a,b]; to sweep over the values, add -m"
    return Diagnostic("LMR201", "several values for one run", _command_line(masked(override)), help=advice)


def absent_key(
    key: str, override: str, selected: Sequence[str], known_keys: Callable[[KeyPath], Iterable[str]]
) -> Diagnostic:
    """An override of a key that no chosen file has.

    Args:
        selected: the ids of the selected provider profiles.
        known_keys: the keys that the schemas allow in the mapping at a path.
    """
    path = undotted(key)
    place = _command_line(masked(override))
    known = [*known_keys(path[:-1]), *(() if path[1:] else ("provider",))]  # the one group that is no key
    if path == ("provider",) and "." in override.partition("=")[0]:
        message, advice = "provider is a choice, not a key", f"did you mean 'providers{override.lstrip('+~')[8:]}'?"
    elif len(path) > 1 and path[0] == "providers" and path[1] not in selected:
        message, advice = unselected(path[1], selected)
    elif path[-1] in known:
        message, advice = "no chosen file has this key", f"to add it, write +{place.override}"
    else:
        message, advice = "unknown key", instead(path[-1], known)
    return Diagnostic("LMR201", message, place, dotted(path), advice)


def unresolved(path: KeyPath, message: str, locate: Locate) -> Diagnostic:
    """An interpolation that leads nowhere."""
    reason = _first(message)
    advice = ""
    if variable := re.search(r"Environment variable '(\w+)' not found", reason):
        reason = f"the environment variable {variable[1]} is not set"
        advice = f"set it, or give a default: ${{oc.env:{variable[1]},default}}"
    if reason.endswith("HydraConfig was not set"):
        reason, advice = "Hydra's own settings are known in a run only", "write the value itself"
    reason = re.sub(r"^\w+ raised while resolving interpolation: ", "", reason)
    return Diagnostic("LMR203", reason[:1].lower() + reason[1:], locate(path), dotted(path), advice)


def other(message: str, overrides: Sequence[str]) -> Diagnostic:
    """Anything else that keeps a configuration from being composed."""
    named = [override for override in overrides if override.partition("=")[0].lstrip("+~") in message]
    # Hydra does not always say which override it means; a single one it must be.
    guilty = (named or (overrides if len(overrides) == 1 else [""]))[0]
    place = _command_line(masked(guilty)) if overrides else Location(paths.shown(paths.shipped("conf")))
    text = scrubbed(_first(message), overrides)
    for pattern, said, advice in _SAID:
        if re.search(pattern, text):
            return Diagnostic("LMR201", said, place, help=advice.format(place.override.lstrip("+~")))
    return Diagnostic("LMR201", f"cannot be composed: {text}", place)


_SAID = (
    (r"^Could not append to config", "the key is there already", "to change it, write {0}"),
    (r"^Could not override '.*\. (?:No match in the defaults list|Did you mean to override)",
     "nothing of that name was chosen, so there is nothing to choose otherwise", "to add it, write +{0}"),
    (r"^Multiple values for |appears more than once in the final defaults list",
     "something of that group is chosen already", "to choose otherwise, write {0}"),
    (r"list index out of range|invalid literal for int|Index '.*' \\(str\\) is not an int",
     "the list has no such position", "set the whole list: key=[a,b]"),
    (r"^force-add of config groups", "`++` is for keys; a choice is made without it", "write {0}"),
)  # fmt: skip
"""What Hydra says, how we say it, and what to write instead, given the override without its prefix."""


def unselected(provider: str, selected: Sequence[str]) -> tuple[str, str]:
    """What to say, and to advise, of a profile that was not chosen or is not there."""
    known = paths.options("provider")
    if provider in known:
        return f"profile '{provider}' is not selected", f"add it: {selection([*selected, provider])}"
    return f"there is no profile '{provider}'", did_you_mean(provider, known) or f"there are {', '.join(known)}"


def _first(message: str) -> str:
    """The first paragraph in one line, without pointers to Hydra's manual and dumps of its state."""
    wanted = re.split(r"\n\s*\n|\n\s*(?:See https?:|full_key:|Config search path:)", message.strip())[0]
    return " ".join(wanted.split())


def override_of(key: str, overrides: Sequence[str]) -> str:
    """The last override of a key or group; empty when there is none."""
    keys = [override.partition("=")[0].lstrip("+~").partition("@")[0] for override in overrides]
    return next((override for k, override in zip(keys[::-1], overrides[::-1], strict=True) if k == key), "")


def _command_line(override: str) -> Location:
    return Location(COMMAND_LINE, override=override)
