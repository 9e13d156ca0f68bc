"""Which providers are meant: words of the command line that are no overrides name them."""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from lmroute import secrets
from lmroute.cli.policy.choice import readable
from lmroute.config import paths
from lmroute.config.complaints import did_you_mean
from lmroute.config.compose import compose
from lmroute.errors import LmrouteError, MissingExtra, ProviderUnavailable, SecretError
from lmroute.providers.catalog import TYPES, base_url
from lmroute.providers.http import WIRE_ERRORS, Unreadable, describe
from lmroute.providers.inventory import LISTINGS, opened
from lmroute.providers.probe import Patience, probe
from lmroute.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from lmroute.model import Profile, Stack
    from lmroute.providers.inventory import Line

_GROUP = "provider"
_OVERRIDE = re.compile(r"~|\+{0,2}[\w./@-]+=")
"""``~key`` or ``key=value``; an address with a query is none, because of its colon."""

_INSTEAD: dict[str, tuple[str, str, str]] = {
    "ollama": ("ollama run MODEL", "ollama stop MODEL", "ollama pull MODEL"),
    "llamacpp": ("llama-server -m MODEL.gguf", "stop llama-server", "llama-server -hf USER/REPOSITORY"),
    "vllm": ("vllm serve MODEL", "stop vllm", "vllm serve MODEL, which downloads it"),
    "sglang": ("python -m sglang.launch_server --model-path MODEL", "stop it", "starting it downloads the model"),
    "embedded": ("the first call loads it", "it goes when the last program ends", "the first call downloads it"),
}
"""How other servers are told to load, to unload and to download."""
_DEEDS = ("load", "unload", "download")


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names, and overrides.

    Raises:
        LmrouteError: a name is empty.
    """
    for word in words:
        must_be_named(word)
    overrides = [word for word in words if _OVERRIDE.match(word)]
    return [word for word in words if word not in overrides], overrides


def one_name(words: Sequence[str], what: str) -> tuple[str, list[str]]:
    """The only name among words, and the overrides.

    Raises:
        LmrouteError: there is none, or there are several.
    """
    names, overrides = split(words)
    if len(names) != 1:
        told = f"{len(names)} are given: {', '.join(names)}" if names else "none is given"
        provider = next((name for name in names[1:] and names if name in paths.options(_GROUP)), None)
        advice = f"\n  help: a provider is named with --provider {provider}" if provider else ""
        raise LmrouteError(f"one {what} at a time; {told}{advice}")
    return names[0], overrides


def must_be_named(name: str, what: str = "the name") -> None:
    """Refuse what an unset variable of a shell script leaves behind: it would mean something else.

    Raises:
        LmrouteError
    """
    if not name.strip():
        raise LmrouteError(f"{what} is empty\n  help: is the variable set that it comes from?")


def command(verb: str, *words: str, provider: str | None, overrides: Sequence[str]) -> str:
    """A command to suggest, which means the same server: to be pasted into a shell."""
    chosen = ("--provider", provider) if provider else ()
    return f"lmroute models {shlex.join([verb, *words, *chosen, *overrides])}"


def profiles(names: Sequence[str], overrides: Sequence[str], verbs: Sequence[str] = ()) -> list[Profile]:
    """The profiles of these names, of all that there are; without names those that the overrides select.

    See ``chosen_from``.
    """
    return chosen_from(names, overrides, verbs)[1]


def chosen_from(
    names: Sequence[str], overrides: Sequence[str], verbs: Sequence[str] = ()
) -> tuple[Stack, list[Profile]]:
    """A stack that has the providers of these names, and their profiles; without names those that are selected.

    Args:
        verbs: other words that may have been meant.

    Raises:
        ConfigError: the configuration cannot be read.
        LmrouteError: there is no such provider, or the overrides select others.
    """
    known = paths.options(_GROUP)
    is_selected = any(override.partition("=")[0].lstrip("+~") == _GROUP for override in overrides)
    chosen = () if is_selected or not set(names) <= set(known) or not names else (f"{_GROUP}=[{','.join(names)}]",)
    stack = readable(compose([*chosen, *overrides])).stack
    found = stack.providers
    for name in names:
        if name not in found:
            raise LmrouteError(_unknown(name, list(found), known, verbs))
    return stack, [found[name] for name in dict.fromkeys(names)] if names else list(found.values())


def lmstudio(provider: str | None, overrides: Sequence[str], deed: str) -> Profile:
    """The LM Studio that is to do something: the one that is named, else the only one that is selected.

    Args:
        deed: ``load``, ``unload`` or ``download``.

    Raises:
        ConfigError: the configuration cannot be read.
        LmrouteError: it is another type of server, or off, or there are none or several; or the name is empty.
    """
    if provider is not None:
        must_be_named(provider, "the name of the provider")
    found = profiles([provider] if provider else [], overrides)
    if provider:
        return _able(found[0], deed, overrides)
    able = [profile for profile in found if profile.type == "lmstudio" and profile.enabled]
    if len(able) == 1:
        return able[0]
    if able:
        raise LmrouteError(f"several LM Studios are selected; choose one: {_choices(able)}")
    off = [profile for profile in found if profile.type == "lmstudio"]
    if off or len(found) == 1:
        return _able((off or found)[0], deed, overrides)
    raise LmrouteError(
        f"no LM Studio is selected, and only that is told to {deed}\n"
        f"  help: --provider lmstudio; selected: {', '.join(profile.id for profile in found)}"
    )


def line_to(profile: Profile, total_s: float) -> Callable[[], AbstractContextManager[Line]]:
    """What opens a line to a provider's server, for ``total_s`` seconds each time.

    Raises:
        SecretError, MissingExtra: its token cannot be had.
        LmrouteError: its endpoint is none.
    """
    try:
        address = base_url(profile)
        address.encode("ascii")
    except ValueError as error:
        raise LmrouteError(f"providers.{profile.id}.endpoint: {error}; write it as http://host:port") from error
    token = secrets.resolve(profile.auth_token) if profile.auth_token else None
    return partial(opened, profile, address, LISTINGS[TYPES[profile.type].dialect], token, total_s=total_s)


@contextmanager
def told(profile: Profile) -> Iterator[None]:
    """What a server or a network does wrong inside, as lmroute's errors, with advice and a sick provider's exit code.

    Raises:
        ProviderUnavailable, SecretError, MissingExtra
    """
    try:
        try:
            yield
        except (*WIRE_ERRORS, Unreadable) as error:
            raise ProviderUnavailable(_why(profile, error)) from error
    except (ProviderUnavailable, SecretError, MissingExtra) as error:
        error.exit_code = 1
        raise


def _why(profile: Profile, error: Exception) -> str:
    """What is wrong with a server that could not be asked, in the words of the probe, which knows that best."""
    result = probe(profile, patience=Patience(retries=0))
    if result.error_code is None:
        said = str(error) if isinstance(error, Unreadable) else describe(error)
        return f"{profile.id}: {one_line(said)}\n  help: it answers by now; try again"
    return f"{profile.id}: {result.state}: {result.message}\n  help: {result.fix}"


def _unknown(name: str, found: Sequence[str], known: Sequence[str], verbs: Sequence[str]) -> str:
    if name in known:
        return f"provider '{name}' is not selected\n  help: {_GROUP}=[{','.join([*found, name])}]"
    there = list(dict.fromkeys([*found, *known]))
    advice = did_you_mean(name, [*verbs, *there]) or f"there are {', '.join(there)}"
    return f"no provider is called '{name}'\n  help: {advice}"


def turned_on(profile: Profile, overrides: Sequence[str]) -> str:
    """What to do about a provider that is off: an override that works, whether the profile says so or not."""
    key = f"providers.{profile.id}.enabled"
    given = next((override for override in overrides if override.partition("=")[0].lstrip("+~") == key), None)
    return f"leave out {given}" if given else f"++{key}=true"


def _able(profile: Profile, deed: str, overrides: Sequence[str]) -> Profile:
    if profile.type != "lmstudio":
        instead = _INSTEAD.get(profile.type)
        advice = instead[_DEEDS.index(deed)] if instead else "a service sees to that by itself"
        raise LmrouteError(
            f"{profile.id} is of type {profile.type}; only lmstudio is told to {deed}\n  help: there: {advice}"
        )
    if not profile.enabled:
        raise LmrouteError(f"provider '{profile.id}' is off\n  help: {turned_on(profile, overrides)}")
    return profile


def _choices(able: Sequence[Profile]) -> str:
    return " or ".join(f"--provider {profile.id}" for profile in able)
