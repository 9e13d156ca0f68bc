"""Serve LM Studio's HTTP API on this machine, for work and tests without LM Studio.

Prints its URL on stdout once it can be called. From then on Ctrl-C and SIGTERM end it with exit code 0;
before that with 130.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute import secrets
from lmroute.emulator.backends.script import read_script
from lmroute.emulator.catalog import Model
from lmroute.emulator.faults import FAULT_NAMES, fault_option, read_faults
from lmroute.emulator.machine.instances import LoadConfig
from lmroute.emulator.settings import Engine, Loaded, Settings, Token
from lmroute.emulator.versions import NEWEST, PROFILES
from lmroute.errors import LmrouteError, SecretError
from lmroute.logs import RedactingFilter
from lmroute.model import SecretRef, SecretSource

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lmroute.providers.embedded import Fetch

TOKEN_ENV = "LM_API_TOKEN"  # noqa: S105  the name of a variable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--port", type=int, default=1234, help="0 for any free one (default: 1234, LM Studio's)")
    add("--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)")
    add("--profile", choices=PROFILES, default=NEWEST.name, help=f"release to imitate (default: {NEWEST.name})")
    _add_models(parser.add_argument_group("models"))
    _add_tokens(parser.add_argument_group("API tokens"))
    _add_trouble(parser.add_argument_group("time and trouble"))
    add("--verbose", action="store_true", help="log each request's method, path and status")


def _add_models(group: argparse._ArgumentGroup) -> None:
    add, engines = group.add_argument, [engine.value for engine in Engine]
    add("--model", choices=engines, default="scripted", help="what answers (default: scripted)")
    script = "YAML list of {match: text, reply: text} for the scripted model"
    add("--script", type=Path, metavar="FILE", help=script)
    add("--models", nargs="+", metavar="ID", help="downloaded models; the first chat model is loaded")
    load = "have this model loaded, as instance ID (default: the first chat model); may be given again"
    add("--load", action="append", metavar="MODEL[@ID]", help=load)
    add("--load-nothing", action="store_true", help="start with no model loaded")
    add("--no-jit", action="store_true", help="do not load a downloaded model when a request asks for it")
    add("--context-length", type=int, metavar="TOKENS", help="window of loaded models (default: each model's own)")
    add("--parallel", type=int, metavar="N", help="predictions at once per instance (default: the release's)")
    add("--ttl", type=int, default=3600, metavar="S", help="idle time of a model that a request loaded (default: 3600)")


def _add_tokens(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--require-auth", action="store_true", help="refuse requests without an API token")
    add("--token-env", metavar="NAME", help=f"variable with a token to accept (default: {TOKEN_ENV})")
    limited = "variable with a token that may list models only (403 for more)"
    add("--read-only-token-env", metavar="NAME", help=limited)


def _add_trouble(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--load-seconds", type=float, default=0.0, metavar="S", help="what loading a model takes (default: 0)")
    add("--manual-clock", action="store_true", help="loads, TTLs and downloads wait until the clock is advanced")
    fault = f"go wrong from the start; may be given again. Names: {', '.join(FAULT_NAMES)}"
    add("--fault", action="append", metavar="NAME[=VALUE]", help=fault)
    add("--split", type=int, metavar="N", help="send streams in pieces of N bytes, to test clients")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = _settings(arguments)
    if arguments.verbose:
        handler = logging.StreamHandler(sys.stderr)
        handler.addFilter(RedactingFilter())  # clients put keys into addresses
        logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(message)s")
    # Imported late: --help and a wrong option need no web server.
    from lmroute.emulator.running import serve  # noqa: PLC0415

    def announce(url: str) -> None:
        print(f"LM Studio {settings.version.name} emulator, {settings.engine} model; Ctrl-C stops it", file=sys.stderr)
        print(url, flush=True)

    serve(
        settings,
        arguments.host,
        arguments.port,
        announce=announce,
        report=_Progress(),
        access_log=arguments.verbose,
    )
    return 0


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = Settings(
        engine=Engine(arguments.model),
        version=PROFILES[arguments.profile],
        models=tuple(map(Model.named, arguments.models)) if arguments.models else None,
        jit=not arguments.no_jit,
        require_auth=arguments.require_auth,
        tokens=_tokens(arguments),
        split=arguments.split,
        script=read_script(arguments.script) if arguments.script else (),
        clock="manual" if arguments.manual_clock else "real",
        load_seconds=arguments.load_seconds,
        ttl_s=arguments.ttl,
        faults=read_faults(dict(map(fault_option, arguments.fault or ()))),
    )
    config = LoadConfig(arguments.context_length, arguments.parallel)
    return replace(settings, loaded=_loaded(arguments, settings.on_disk), load_config=config)


def _loaded(arguments: argparse.Namespace, models: Sequence[Model]) -> tuple[Loaded, ...] | None:
    if arguments.load_nothing:
        if arguments.load:
            raise LmrouteError("--load and --load-nothing exclude each other; keep one of them")
        return ()
    if not arguments.load:
        return None
    return tuple(_one_loaded(text, models) for text in arguments.load)


def _one_loaded(text: str, models: Sequence[Model]) -> Loaded:
    key, at, identifier = text.rpartition("@")
    if at and not identifier.strip():
        raise LmrouteError(f"--load {text}: nothing follows the @; write MODEL@ID, or MODEL alone")
    for name, called in ((text, ""), (key, identifier)):  # a name may have an @ of its own, as in key@q4_k_m
        for model in models:
            if model.answers_to(name):
                return Loaded(model.key, called)
    known = ", ".join(model.key for model in models)
    raise LmrouteError(f"--load {text}: no such model is on the emulated disk; there are {known}")


def _tokens(arguments: argparse.Namespace) -> tuple[Token, ...]:
    full, limited = arguments.token_env, arguments.read_only_token_env
    if not arguments.require_auth:
        if full or limited:
            raise LmrouteError("a token is asked for only with --require-auth; add it")
        return ()
    tokens = [_token(full or TOKEN_ENV)]
    return (*tokens, _token(limited, read_only=True)) if limited else tuple(tokens)


def _token(variable: str, *, read_only: bool = False) -> Token:
    secret = secrets.resolve(SecretRef(SecretSource.ENV, (variable,), optional=True))
    if secret is None:
        raise SecretError(f"environment variable {variable} is not set; put the API token to accept into it")
    try:
        return Token(secret, read_only)
    except LmrouteError as error:
        raise SecretError(f"environment variable {variable}: {error}") from error


class _Progress:
    """A line on stderr for every further tenth of a fetch."""

    def __init__(self) -> None:
        self._tenths = -1

    def __call__(self, fetch: Fetch) -> None:
        tenths = 10 * fetch.done // fetch.total
        if tenths > self._tenths:
            self._tenths = tenths
            print(f"fetching the model: {tenths * 10} % of {fetch.total / 1e6:.0f} MB", file=sys.stderr, flush=True)
