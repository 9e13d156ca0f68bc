"""Tell what models the servers have: which are loaded and with which window, and what each can do.

All servers are asked at once; none is made to load anything. One that does not answer is told on stderr, with what to
do, and the others are shown.

  lmroute models                                    the servers of the composition
  lmroute models lmstudio ollama                    these, selected or not
  lmroute models lmstudio providers.lmstudio.endpoint=http://127.0.0.1:4321 --json

'asked as' is what the profile calls a model; 'auto' is the one that the server has loaded, or lists first.
The JSON document is {format_version, providers}. Of each provider:

  id, type, endpoint, enabled       as in its profile
  state, errorCode, message, fix    how it is; errorCode is null when nothing is wrong
  api, loads_on_demand              what it can be asked, and whether a request loads a model; null when not told
  models                            a list

Of each model, null where the server does not tell:

  id, type, asked_as, offered       type is chat, embedding or other; offered is whether a request may name it now
  loaded, instances                 of each instance id, context_window, parallel, ttl_s (seconds until it is unloaded)
  context_window, max_context_window, tools, vision, reasoning, quantization, format, size_bytes

Exit codes: 0 everybody answered, 1 somebody did not, or the configuration cannot be read, 2 wrong usage.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from lmroute.cli.models.rows import Row
    from lmroute.model import Profile
    from lmroute.providers.probe import ProbeResult

FORMAT_VERSION = "1.0"

_LOADS = "lmstudio-v1"
_APIS = {
    _LOADS: "LM Studio 0.4 or newer, which can be told to load",
    "lmstudio-v0": "LM Studio 0.3.6 to 0.3.x, which cannot be told to load",
    "lmstudio": "LM Studio before 0.3.6, which tells names only",
}
"""What is worth a line about what a server turned out to be."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("words", nargs="*", metavar="PROVIDER|OVERRIDE",
        help="providers, by default those of the composition; and overrides as for run.py")  # fmt: skip
    add("--json", action="store_true", help="the same for programs")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and list."""
    with told_as("json" if arguments.json else "text"):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help needs neither Hydra nor an HTTP client.
    from lmroute.cli.models.choice import profiles, split, turned_on  # noqa: PLC0415
    from lmroute.cli.models.rows import cells_of, rows  # noqa: PLC0415
    from lmroute.providers.probe import probe_all  # noqa: PLC0415

    names, overrides = split(arguments.words)
    chosen = profiles(names, overrides, verbs=("load", "unload", "download"))
    results = probe_all(profile for profile in chosen if profile.enabled)
    shown = {id_: rows(profile, results[id_].models) for profile in chosen if (id_ := profile.id) in results}
    if arguments.json:
        document = [
            _document(profile, results.get(profile.id), shown.get(profile.id, []), turned_on(profile, overrides))
            for profile in chosen
        ]
        text = json.dumps({"format_version": FORMAT_VERSION, "providers": document}, indent=2, ensure_ascii=False)
    else:
        lines = list(table(cells_of(row for its in shown.values() for row in its)))
        notes = [note for profile in chosen if profile.id in results for note in _notes(results[profile.id], overrides)]
        text = "\n".join([*lines, *([""] if lines and notes else []), *notes])
    emit(redact.text(f"{text}\n") if text else "")
    for profile in chosen:
        complaint = _complaint(profile, results.get(profile.id), turned_on(profile, overrides))
        print(redact.text(complaint), end="", file=sys.stderr)
    return int(any(_is_sick(result) for result in results.values()))


def _document(profile: Profile, result: ProbeResult | None, rows: Sequence[Row], on: str) -> dict[str, Any]:
    """A provider as data; ``None`` for a result means that it is off and was not asked."""
    head = {"id": profile.id, "type": profile.type, "endpoint": profile.endpoint, "enabled": profile.enabled}
    if result is None:
        found: dict[str, Any] = {"state": "unknown", "errorCode": None, "message": "off", "fix": on}
        return {**head, **found, "api": None, "loads_on_demand": None, "models": []}
    return {
        **head,
        "state": result.state,
        "errorCode": result.error_code,
        "message": result.message,
        "fix": result.fix,
        "api": result.api if result.listed else None,
        "loads_on_demand": result.inventory.loads_on_demand,
        "models": [row.as_data() for row in rows],
    }


def _notes(result: ProbeResult, overrides: Sequence[str]) -> Iterator[str]:
    from lmroute.cli.models.choice import command  # noqa: PLC0415  see _run

    if not result.listed:
        return
    if result.inventory.problem:
        yield f"{result.provider}: {result.inventory.problem}; windows and what models can do are unknown"
    if what := _APIS.get(result.api):
        yield f"{result.provider}: {what}"
    if result.inventory.loads_on_demand is False:
        loads = command("load", "MODEL", provider=result.provider, overrides=overrides)
        how = f" ({loads})" if result.api == _LOADS else ""
        yield f"{result.provider}: just-in-time loading is off, so what is not loaded is not offered{how}"
    if not any(model.chats for model in result.models):
        yield f"{result.provider}: it has no chat model"


def _complaint(profile: Profile, result: ProbeResult | None, on: str) -> str:
    if result is None:
        return f"{profile.id}: off, so it was not asked\n  help: {on}\n"
    if result.error_code is None:
        return ""
    help_line = f"\n  help: {result.fix}" if result.fix else ""
    return f"{profile.id}: {result.state}: {result.message}{help_line}\n"


def _is_sick(result: ProbeResult) -> bool:
    from lmroute.providers.probe import SERVING, State  # noqa: PLC0415  see _run

    return result.state not in {*SERVING, State.UNKNOWN}
