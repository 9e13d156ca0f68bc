"""Write down in lmroute.lock.json what the servers were found to be, or tell with --check what changed since.

Locked are: API level and paths, models with windows, quantization and capabilities, and who answers to the names that
the profiles and the policy use. Commit the file: 'lmroute validate' holds the configuration to it without asking
anybody, and 'lmroute lock --check' tells which rules a changed server leaves without an answer.

  lmroute lock                                  the servers that the policy can reach
  lmroute lock provider=[lmstudio,ollama] --all
  lmroute lock --check

It loads no model and costs no token. LM Studio is sent six small requests, three of them empty, to see which of its
APIs it has; each of them leaves a line in its log, those that it refuses as an error.

Exit codes: 0 good, 1 a server does not answer or (--check) is not what was locked or never was, 2 wrong usage or no
lock to check.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit
from lmroute.errors import ConfigError, LmrouteError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from lmroute.health.locking import Taken
    from lmroute.lock import Lock, Reading
    from lmroute.lock.drift import Drift
    from lmroute.model import Profile, Stack
    from lmroute.validate import Checked

FORMAT_VERSION = "1.0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("overrides", nargs="*", metavar="OVERRIDE", help="as for run.py: provider=[lmstudio,openai] routing=local_only")
    add("--all", action="store_true", help="every enabled provider that is selected, also those that no rule can reach")
    add("--check", action="store_true", help="write nothing; tell what is not as it was locked, and exit with 1")
    add("--strict", action="store_true", help="with --check: what servers have besides is a finding, too")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--keep",
        action="store_true",
        help="write what the others told; of who does not answer, keep what is there",
    )
    which.add_argument("--fresh", action="store_true", help="begin anew: what is locked of other providers goes")
    add("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Lock, or check."""
    with told_as("json" if arguments.json else "text"):
        _refuse_contradictions(arguments)
        return _run(arguments)


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    for name, asked in (("keep", arguments.keep), ("fresh", arguments.fresh)):
        if arguments.check and asked:
            raise LmrouteError(f"--check writes nothing; leave out --{name}")
    if arguments.strict and not arguments.check:
        raise LmrouteError("--strict is about --check; add it, or leave out --strict")


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help needs neither Hydra nor an HTTP client.
    from lmroute.cli.policy.choice import readable  # noqa: PLC0415
    from lmroute.config.compose import compose  # noqa: PLC0415
    from lmroute.lock import place, read  # noqa: PLC0415

    checked = readable(compose(arguments.overrides))  # a lock that is out of date must not keep one from a new one
    profiles = _asked(checked.stack, everybody=arguments.all)
    path = place()
    reading = None if arguments.fresh else read(path)
    if arguments.check and reading is None:
        raise LmrouteError(f"{path}: there is nothing to check yet\n  help: write it: lmroute lock")
    lock = _usable(reading, tuple(arguments.overrides))
    taken = _take(checked.stack, profiles)
    if arguments.check:
        return _check(checked, lock, taken, arguments)
    return _write(lock, taken, arguments)


def _asked(stack: Stack, *, everybody: bool) -> list[Profile]:
    from lmroute.health.locking import askable  # noqa: PLC0415  see _run
    from lmroute.health.standing import to_probe  # noqa: PLC0415

    profiles = askable(stack.providers.values() if everybody else to_probe(stack))
    if not profiles:
        selected = ", ".join(stack.providers) or "none"
        raise LmrouteError(
            f"no provider that a rule can reach has a server to ask; selected: {selected}\n"
            "  help: choose one that has: lmroute lock provider=lmstudio"
        )
    return profiles


def _usable(reading: Reading | None, overrides: tuple[str, ...]) -> Lock:
    """The lock there is, an empty one if there is none. Raises ConfigError when it cannot be read."""
    from lmroute.lock import Lock  # noqa: PLC0415  see _run

    if reading is None:
        return Lock()
    if reading.lock is None:
        raise ConfigError([replace(finding, overrides=overrides) for finding in reading.findings])
    return reading.lock


def _take(stack: Stack, profiles: Sequence[Profile]) -> Taken:
    from lmroute.health.locking import names, take  # noqa: PLC0415  see _run

    print(f"asking {_listed(profile.id for profile in profiles)} …", file=sys.stderr, flush=True)
    return take(profiles, names(stack), datetime.now(UTC))


def _write(before: Lock, taken: Taken, arguments: argparse.Namespace) -> int:
    from lmroute.config.paths import shown  # noqa: PLC0415  see _run
    from lmroute.lock import dump, place, renewed  # noqa: PLC0415
    from lmroute.scaffold.writing import write  # noqa: PLC0415

    path = place()
    is_complete = not (taken.silent or taken.unreadable)
    if is_whole := arguments.keep or is_complete:
        again = f"lmroute lock{' --fresh' if arguments.fresh else ''}"
        write(path, dump(renewed(before, taken.found)), f"say '{again}' again")
    kept = sorted(set(before.providers) - set(taken.found)) if is_whole else []
    _complain(taken, kept if is_whole else None)
    if arguments.json:
        locked = sorted(taken.found) if is_whole else []
        _emit_json({"file": str(path), "locked": locked, "kept": kept, "silent": _silent(taken)})
    elif is_whole:
        told = _listed(f"{name} ({_models(len(taken.found[name].models))})" for name in sorted(taken.found))
        emit(f"{shown(path)}: {told or 'nobody new'}{f'; kept as it was: {_listed(kept)}' if kept else ''}\n")
    return int(not is_whole)


def _complain(taken: Taken, kept: Sequence[str] | None) -> None:
    """Say on stderr who told nothing, and what becomes of its entry; ``kept`` is ``None`` if nothing is written."""
    for name, (why, fix) in _complaints(taken).items():
        print(f"{name}: {why}", file=sys.stderr)
        if fix:
            print(f"  help: {fix}", file=sys.stderr)
        if kept is not None:
            print(f"  {'what was locked before is kept' if name in kept else 'it is left out'}", file=sys.stderr)
    if kept is None:
        print(f"nothing is written{'; --keep writes what the others told' if taken.found else ''}", file=sys.stderr)


def _complaints(taken: Taken) -> dict[str, tuple[str, str]]:
    """Why each provider told nothing that could be locked, and what to do about it."""
    silent = {name: (result.message, result.fix) for name, result in taken.silent.items()}
    return silent | {name: (why, "try again") for name, why in taken.unreadable.items()}


def _check(checked: Checked, lock: Lock, taken: Taken, arguments: argparse.Namespace) -> int:
    from lmroute.lock.drift import compare  # noqa: PLC0415  see _run

    silent = {name: result.message for name, result in taken.silent.items()}
    drift = compare(checked.stack, lock, taken.found, silent, taken.unreadable)
    failed = drift.fails(strict=arguments.strict)
    if arguments.json:
        _emit_json(_document(checked, drift, taken, compatible=not failed))
    else:
        emit(redact.text("\n".join(drift.lines(strict=arguments.strict))) + "\n")
    return int(failed)


def _document(checked: Checked, drift: Drift, taken: Taken, *, compatible: bool) -> dict[str, Any]:
    from lmroute.lock import place  # noqa: PLC0415  see _run
    from lmroute.validate.reporters.json_ import located  # noqa: PLC0415

    return {
        "file": str(place()),
        "compatible": compatible,
        "differences": [
            {"provider": each.provider, "model": each.model or None, "weight": each.weight, "message": each.message}
            for each in drift.differences
        ],
        "effects": [
            {
                "policy": effect.policy,
                "rule": effect.rule,
                "location": located(checked.locate(("routing", *effect.key))),
                "lost": list(map(str, effect.lost)),
                "instead": str(effect.instead) if effect.instead else None,
                "witness": effect.witness.stated,
                "considered": [
                    {"candidate": str(each.candidate), "dropped": each.dropped or None} for each in effect.considered
                ],
            }
            for effect in drift.effects
        ],
        "unproved": drift.unproved or None,
        "silent": _silent(taken),
        "unlocked": list(drift.unlocked),
        "unasked": list(drift.unasked),
    }


def _silent(taken: Taken) -> list[dict[str, Any]]:
    from lmroute.providers.probe import State  # noqa: PLC0415  see _run

    told = [(name, result.state, result.error_code, result.message) for name, result in taken.silent.items()]
    told += [(name, State.DEGRADED, None, why) for name, why in taken.unreadable.items()]
    return [dict(zip(("provider", "state", "errorCode", "message"), each, strict=True)) for each in told]


def _emit_json(document: dict[str, Any]) -> None:
    emit(redact.text(json.dumps({"format_version": FORMAT_VERSION, **document}, indent=2)) + "\n")


def _models(count: int) -> str:
    return f"{count} model{'s' * (count != 1)}"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
