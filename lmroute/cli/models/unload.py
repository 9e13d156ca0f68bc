"""Have LM Studio take models out of memory.

A name is that of an instance, as 'lmroute models' shows it under 'loaded', or of a model that is loaded once.

  lmroute models unload rookery/tern-3b-instruct
  lmroute models unload rookery/tern-3b-instruct:2      one of several copies
  lmroute models unload rookery/tern-3b-instruct --all  every copy
  lmroute models unload --all                           everything

Exit codes: 0 it is not loaded (any more), 1 it still is or there is no such model, 2 wrong usage.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    import argparse

    from lmroute.model import Profile
    from lmroute.providers.inventory import Inventory, ListedModel

FORMAT_VERSION = "1.0"
_TOTAL_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("words", nargs="*", metavar="INSTANCE|MODEL|OVERRIDE", help="what to unload; overrides as for run.py")
    add("--all", action="store_true", help="every copy of that model; without one everything")
    add("--provider", metavar="ID", help="which LM Studio, where several are selected or another one is meant")
    add("--json", action="store_true", help="the result for programs")


def run(arguments: argparse.Namespace) -> int:
    """Unload, and tell what is loaded still."""
    with told_as("json" if arguments.json else "text"):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help needs neither Hydra nor an HTTP client.
    from lmroute.cli.models.choice import line_to, lmstudio, one_name, split, told  # noqa: PLC0415
    from lmroute.providers.lmstudio import control  # noqa: PLC0415

    names, overrides = split(arguments.words)
    if not names and not arguments.all:
        raise LmrouteError("what is to be unloaded?\n  help: name an instance or a model, or give --all for everything")
    name = one_name(names, "instance or model")[0] if names else ""
    profile = lmstudio(arguments.provider, overrides, "unload")
    with told(profile), line_to(profile, _TOTAL_S)() as line:
        inventory = control.listed(line, "unload")
        gone = _meant(inventory, name, every=arguments.all)
        for instance in gone:
            control.unload(line, instance.id)
    emit(redact.text(_shown(profile, name, gone, _loaded(inventory), as_json=arguments.json)) + "\n")
    return 0


def _loaded(inventory: Inventory) -> list[ListedModel]:
    return [model for model in inventory.models if model.loaded and model.of]


def _meant(inventory: Inventory, name: str, *, every: bool) -> list[ListedModel]:
    """The instances that are meant; none where the model is there and not loaded.

    Raises:
        ProviderUnavailable: the server knows no such name, or several instances go by it.
    """
    from lmroute.errors import ModelMissing  # noqa: PLC0415  see _run
    from lmroute.providers.lmstudio.lookup import names_a_copy, near  # noqa: PLC0415  see _run
    from lmroute.providers.lmstudio.names import plain_key  # noqa: PLC0415  see _run

    loaded = _loaded(inventory)
    if not name:
        return loaded
    exact = [model for model in loaded if model.id == name]
    is_copy = names_a_copy(inventory, name)
    if is_copy and not exact:
        exact = [model for model in loaded if model.id.casefold() == name.casefold()]
    if exact and (is_copy or not every):
        return exact
    of = {model.of for model in exact} or {
        model.key for model in inventory.models if plain_key(model.key) == plain_key(name)
    }
    if not of:
        known = [*(model.id for model in loaded), *(model.key for model in inventory.models)]
        raise ModelMissing(f"there is no instance or model '{name}'\n  help: {near(name, known)}")
    if is_copy:
        return []  # that very instance is gone; others of the model are not meant
    copies = [model for model in loaded if model.of in of]
    if len(copies) > 1 and not every:
        names = ", ".join(model.id for model in copies)
        raise ModelMissing(f"{name} is loaded {len(copies)} times: {names}\n  help: name one of them, or give --all")
    return copies


def _shown(profile: Profile, name: str, gone: list[ListedModel], loaded: list[ListedModel], *, as_json: bool) -> str:
    unloaded = [model.id for model in gone]
    rest = [model.id for model in loaded if model.id not in unloaded]
    if as_json:
        document = {"format_version": FORMAT_VERSION, "provider": profile.id, "unloaded": unloaded, "loaded": rest}
        return json.dumps(document, indent=2, ensure_ascii=False)
    if not name and not unloaded:
        return f"nothing is loaded on {profile.id}"
    done = f"{', '.join(unloaded)} unloaded" if unloaded else f"{name} was not loaded"
    return f"{done}; loaded on {profile.id}: {', '.join(rest) or 'nothing'}"
