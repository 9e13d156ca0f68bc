"""Have LM Studio get a model into memory, unless it is there.

A model that is loaded is not loaded once more: it keeps its settings, and when others were asked for that is told, with
exit code 1. What is not said here is taken from the profile (providers.lmstudio.load), else left to LM Studio.

  lmroute models load rookery/tern-3b-instruct
  lmroute models load rookery/tern-3b-instruct --context-length 16384 --flash-attention
  lmroute models load text-embedding-wren-v1 --provider desk

Ctrl-C stops the waiting; LM Studio may go on loading, and the same command waits for that for up to 10 minutes.
Exit codes: 0 it is loaded as asked, 1 it is not, 2 wrong usage, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmroute.model import Load, Profile
    from lmroute.providers.inventory import ListedModel
    from lmroute.providers.lmstudio.control import Loaded

FORMAT_VERSION = "1.0"
_LISTS_S = 5.0
"""For the list before a load."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add, flag = parser.add_argument, argparse.BooleanOptionalAction
    add(
        "words",
        nargs="+",
        metavar="MODEL|OVERRIDE",
        help="a model as 'lmroute models' lists it; overrides as for run.py",
    )
    add("--provider", metavar="ID", help="which LM Studio, where several are selected or another one is meant")
    add("--context-length", type=_count, metavar="N", help="tokens of prompt and answer together")
    add("--eval-batch-size", type=_count, metavar="N", help="prompt tokens that are processed at once")
    add("--flash-attention", action=flag, help="less memory for long contexts")
    add("--num-experts", type=_count, metavar="N", help="experts of a mixture-of-experts model")
    add("--offload-kv-cache-to-gpu", action=flag, help="keep what was read in the GPU's memory")
    add("--copy", action="store_true", help="load another copy, with its own memory, even if it is loaded")
    add("--timeout", type=_seconds, metavar="S", help="seconds to wait; by default the profile's timeouts.load_s")
    add("--json", action="store_true", help="the result for programs")


def run(arguments: argparse.Namespace) -> int:
    """Load, and tell what is loaded now."""
    with told_as("json" if arguments.json else "text"):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help needs neither Hydra nor an HTTP client.
    from lmroute.cli.models.choice import command, line_to, lmstudio, one_name, told  # noqa: PLC0415
    from lmroute.providers.lmstudio import control  # noqa: PLC0415
    from lmroute.providers.lmstudio.control import Loaded  # noqa: PLC0415
    from lmroute.providers.lmstudio.lookup import instance_of, model_of, names_a_copy  # noqa: PLC0415

    name, overrides = one_name(arguments.words, "model")
    profile = lmstudio(arguments.provider, overrides, "load")
    settings = _settings(arguments, profile.load)
    total_s = arguments.timeout or profile.timeouts.load_s
    with told(profile):
        # Before anything takes long: who does not answer a list in seconds is not waited for.
        with line_to(profile, _LISTS_S)() as line:
            inventory = control.listed(line)
            there = None if arguments.copy else instance_of(inventory, name)
            _must_fit(profile, model_of(inventory, name), settings, arguments)
            is_new = there is None and not arguments.copy and not names_a_copy(inventory, name)
            left_s = control.unfinished_s(line, name) if is_new else None
        if left_s is not None:
            print(_LEFT.format(name=name, ago=f"{left_s:.0f} s"), file=sys.stderr)
        opened = line_to(profile, total_s)

        def load() -> Loaded:
            with opened() as line:
                return control.load(line, name, settings, copy=arguments.copy)

        loaded = Loaded(there, is_new=False) if there else _watched(load, f"loading {name} on {profile.id}")
    unload = command("unload", loaded.model.id, provider=arguments.provider, overrides=overrides)
    complaint = _complaint(loaded, settings, _given(arguments), unload)
    emit(redact.text(_document(profile, loaded, complaint) if arguments.json else _sentence(profile, loaded)) + "\n")
    if complaint:
        print(redact.text(complaint), file=sys.stderr)
    return int(bool(complaint))


_LEFT = (
    "a load of {name} began {ago} ago, and nobody saw its end: waiting for it, because LM Studio would load a copy"
    " (--copy loads one at once)"
)


def _must_fit(profile: Profile, model: ListedModel | None, settings: Load, arguments: argparse.Namespace) -> None:
    """Refuse a window that the model cannot have: LM Studio would load it with another one."""
    from lmroute.errors import ProviderUnavailable  # noqa: PLC0415  see _run

    most, wanted = model and model.max_context_window, settings.context_length
    if model and most and wanted and wanted > most:
        where = "--context-length" if arguments.context_length else f"providers.{profile.id}.load.context_length"
        raise ProviderUnavailable(
            f"a window of {wanted} is more than {model.key} takes, at most {most}\n  help: {where} of {most} or less"
        )


def _watched(load: Callable[[], Loaded], what: str) -> Loaded:
    from lmroute.cli.models.progress import shown, watched  # noqa: PLC0415  see _run

    try:
        with shown() as progress:
            return watched(load, lambda seconds: progress.tell(f"{what}: {seconds:.0f} s"))
    except KeyboardInterrupt:
        print(
            "no longer waiting; LM Studio may go on loading: lmroute models shows it, the same command waits for it",
            file=sys.stderr,
        )
        raise


def _settings(arguments: argparse.Namespace, usual: Load) -> Load:
    return replace(usual, **_given(arguments))


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of how to load."""
    from lmroute.providers.lmstudio.control import SETTINGS  # noqa: PLC0415  see _run

    return {name: value for name in SETTINGS if (value := getattr(arguments, name)) is not None}


def _sentence(profile: Profile, loaded: Loaded) -> str:
    from lmroute.cli.models.rows import size  # noqa: PLC0415  see _run

    model = loaded.model
    how = "is loaded" if loaded.is_new else "was loaded already"
    took = f" in {loaded.load_s:.1f} s" if loaded.load_s else ""
    called = "" if model.id == model.key else f" as {model.id}"
    details = [
        f"window {model.context_window}" if model.context_window else "",
        f"at most {model.max_context_window}" if model.max_context_window else "",
        f"parallel {model.parallel}" if model.parallel else "",
        model.quantization or "",
        size(model.size_bytes),
    ]
    return f"{model.key} {how} on {profile.id}{called}{took}: {', '.join(filter(None, details))}"


def _document(profile: Profile, loaded: Loaded, complaint: str) -> str:
    model = loaded.model
    return json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "provider": profile.id,
            "id": model.key,
            "instance": model.id,
            "is_new": loaded.is_new,
            "load_s": loaded.load_s,
            "context_window": model.context_window,
            "max_context_window": model.max_context_window,
            "parallel": model.parallel,
            "ttl_s": model.ttl_s,
            "message": complaint,
        },
        indent=2,
        ensure_ascii=False,
    )


def _complaint(loaded: Loaded, settings: Load, given: dict[str, Any], unload: str) -> str:
    """What was asked for and is not so, or cannot be known to be so, with the fix; empty when all is well.

    Args:
        unload: the command that unloads it.
    """
    model, wanted = loaded.model, settings.context_length
    anew = f"{unload}, then load it again; or --copy for one more with its own memory"
    if wanted and model.context_window != wanted:
        fix = "ask for less, or load it by hand in LM Studio" if loaded.is_new else anew
        return f"its window is {model.context_window or 'unknown'}, not {wanted}\n  help: {fix}"
    others = [f"--{name.replace('_', '-')}" for name in given if name != "context_length"]
    if others and not loaded.is_new:
        return f"it keeps the settings it was loaded with, whatever {', '.join(others)} says\n  help: {anew}"
    return ""


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: a whole number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: seconds, more than 0")
    return seconds
