"""What each command does. Commands print, and return their exit code."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute import redact
from lmroute.emulator.control.remote import Refused, Remote, Stopped
from lmroute.emulator.lms import listing, log, models
from lmroute.emulator.lms.address import port_of, url_of
from lmroute.emulator.lms.install import install
from lmroute.emulator.lms.listing import release_of
from lmroute.emulator.lms.parser import parser
from lmroute.emulator.lms.talk import Told, say
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    Command: TypeAlias = Callable[[argparse.Namespace, Remote], int]

_COMMIT = "3f09c1e"
"""Invented: the real one prints a commit of its own code, too, and not the app's version."""
_DAEMON = (0, 4, 0)
_VARIANTS = (0, 3, 29)
_LOG_OF_SERVER = (0, 3, 26)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``lms`` with ``argv``, the process's own by default.

    Raises:
        SystemExit: from argparse, after ``--help`` or wrong usage.
    """
    made = parser()
    asked = made.parse_args(argv)
    if asked.install is None and asked.command is None:
        made.print_help(sys.stderr)
        return 1
    try:
        return _run(asked)
    except LmrouteError as error:
        say(f"Error: {redact.text(str(error))}")
        return 1
    except KeyboardInterrupt:
        return 130


def _run(asked: argparse.Namespace) -> int:
    if asked.install is not None:
        print(install(asked.install))
        return 0
    name = " ".join(filter(None, (asked.command, getattr(asked, "verb", None))))
    return COMMANDS[name](asked, Remote(url_of(getattr(asked, "host", None), getattr(asked, "port", None))))


def _server_start(_asked: argparse.Namespace, remote: Remote) -> int:
    remote.state()
    say(f"Success! Server is now running on port {port_of(remote.url)}")
    return 0


def _server_stop(_asked: argparse.Namespace, remote: Remote) -> int:
    remote.state()
    raise Told("the stand-in stops no server; end the emulator where it was started, with Ctrl-C or SIGTERM")


def _server_status(asked: argparse.Namespace, remote: Remote) -> int:
    port = port_of(remote.url)
    running = _state(remote) is not None
    if asked.json:
        return _json({"running": True, "port": port} if running else {"running": False})
    say(f"The server is running on port {port}." if running else "The server is not running.")
    return 0


def _daemon_status(asked: argparse.Namespace, remote: Remote) -> int:
    state = _state(remote)
    if state is not None:
        _need(state, _DAEMON, "unknown command 'daemon'")
    if asked.json:
        running = {"status": "running", "pid": state["pid"], "isDaemon": True} if state else {"status": "not-running"}
        return _json(running)
    say("The service is running." if state else "The service is not running.")
    return 0


def _log_stream(asked: argparse.Namespace, remote: Remote) -> int:
    _need(remote.state(), _LOG_OF_SERVER, "unknown option '--source'")
    if asked.source != "server":
        raise Told(f"the emulator keeps no log of its {asked.source}; say --source server")
    for record in log.records(remote):
        print(json.dumps(record, separators=(",", ":")) if asked.json else record["data"]["content"], flush=True)
    return 0


def _version(asked: argparse.Namespace, _remote: Remote) -> int:
    return _json({"version": _COMMIT}) if asked.json else _lines([f"CLI commit: {_COMMIT}"])


def _ls(asked: argparse.Namespace, remote: Remote) -> int:
    state = remote.state()
    if asked.variants:
        _need(state, _VARIANTS, "unknown option '--variants'")
    found = listing.with_variants(state) if asked.variants else listing.downloaded(state)
    chosen = [item for item in found if _wanted(item.get("model", item), asked)]
    if asked.key is not None and not chosen:
        raise Told(f"no model on disk is called '{asked.key}'; `lms ls` lists them")
    if asked.json:
        return _json(chosen)
    shown = [variant for item in chosen for variant in item["variants"]] if asked.variants else chosen
    name = "selectedVariant" if asked.variants else "modelKey"
    return _lines(f"{item[name]}  {item['sizeBytes'] / 1e9:.2f} GB" for item in shown)


def _wanted(model: dict[str, Any], asked: argparse.Namespace) -> bool:
    if asked.key is not None and model["modelKey"].lower() != asked.key.lower():
        return False
    return asked.kind in {None, model["type"]}


def _ps(asked: argparse.Namespace, remote: Remote) -> int:
    found = listing.loaded(remote.state())
    if asked.json:
        return _json(found)
    return _lines(f"{item['identifier']}  {item.get('status', '')}  {item['contextLength']} tokens" for item in found)


def _state(remote: Remote) -> dict[str, Any] | None:
    """The emulator's state; ``None`` when it does not run. Another program at its port is told, and counts as that."""
    try:
        return remote.state()
    except Stopped:
        return None
    except Refused as error:
        say(str(error))
        return None


def _need(state: dict[str, Any], release: tuple[int, ...], otherwise: str) -> None:
    """Refuse what the ``lms`` of an older release did not know.

    Raises:
        Told: in the words of a command line that does not know it.
    """
    if release_of(state["profile"]) < release:
        raise Told(f"{otherwise} (the emulator imitates {state['profile']})")


def _json(value: Any) -> int:
    print(json.dumps(value, separators=(",", ":")))
    return 0


def _lines(lines: Iterable[str]) -> int:
    print("\n".join(lines))
    return 0


COMMANDS: dict[str, Command] = {
    "server start": _server_start,
    "server stop": _server_stop,
    "server status": _server_status,
    "daemon status": _daemon_status,
    "log stream": _log_stream,
    "version": _version,
    "ls": _ls,
    "ps": _ps,
    "load": models.load,
    "unload": models.unload,
    "get": models.get,
}
