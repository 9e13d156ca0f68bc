"""What can be said on the command line. Like the real one, wrong usage ends with exit code 1 and one line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence


class Parser(argparse.ArgumentParser):
    """argparse with the words and the exit code of the real ``lms``."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        print(f"error: {message}", file=sys.stderr)
        sys.exit(1)


def parser() -> Parser:
    """Every command, and its options. What is not here is refused, not ignored."""
    made = Parser(prog="lms", description="A stand-in for LM Studio's lms that commands lmroute's emulator.")
    made.add_argument("--install", type=Path, metavar="DIR", help="write a script `lms` into DIR, and end")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    _server(commands)
    _listing(commands)
    _loading(commands)
    _service(commands)
    return made


def _server(commands: argparse._SubParsersAction[Parser]) -> None:
    verbs = _group(commands, "server", "the HTTP server")
    start = verbs.add_parser("start", help="refused unless it runs: the emulator is started with `lmroute emulator`")
    start.add_argument("-p", "--port", action=_Number, metavar="<port>")
    _addressed(verbs, "stop", "refused: the emulator is stopped where it was started")
    _addressed(verbs, "status", "whether it runs, and on which port").add_argument("--json", action="store_true")


def _listing(commands: argparse._SubParsersAction[Parser]) -> None:
    ls = _addressed(commands, "ls", "downloaded models")
    ls.add_argument("key", nargs="?", metavar="MODEL_KEY", help="only this model")
    ls.add_argument("--json", action="store_true")
    ls.add_argument("--variants", action="store_true", help="models with their variants")
    kinds = ls.add_mutually_exclusive_group()
    kinds.add_argument("--llm", dest="kind", action="store_const", const="llm")
    kinds.add_argument("--embedding", dest="kind", action="store_const", const="embedding")
    _addressed(commands, "ps", "models in memory").add_argument("--json", action="store_true")


def _loading(commands: argparse._SubParsersAction[Parser]) -> None:
    load = _addressed(commands, "load", "load a model; one that is loaded gets another copy")
    load.add_argument("key", nargs="?", metavar="MODEL_KEY", help="matched loosely")
    load.add_argument("-c", "--context-length", action=_Number, metavar="<length>")
    load.add_argument("--parallel", action=_Number, metavar="<n>")
    load.add_argument("--ttl", action=_Number, metavar="<seconds>")
    load.add_argument("--identifier", metavar="NAME")
    load.add_argument("--exact", action="store_true", help="MODEL_KEY is a whole path or key")
    load.add_argument("-y", "--yes", action="store_true", help="never ask; take the first that matches")
    unload = _addressed(commands, "unload", "unload an instance")
    unload.add_argument("identifier", nargs="?", metavar="IDENTIFIER")
    unload.add_argument("-a", "--all", action="store_true")
    get = _addressed(commands, "get", "download a model")
    get.add_argument("name", metavar="MODEL_NAME")
    get.add_argument("-y", "--yes", action="store_true", help="never ask")


def _service(commands: argparse._SubParsersAction[Parser]) -> None:
    commands.add_parser("version", help="the stand-in's own version").add_argument("--json", action="store_true")
    stream = _addressed(_group(commands, "log", "what is going on"), "stream", "print it as it comes, until Ctrl-C")
    stream.add_argument("-s", "--source", choices=("model", "server", "runtime"), default="model")
    stream.add_argument("--json", action="store_true")
    verbs = _group(commands, "daemon", "the service behind the server")
    _addressed(verbs, "status", "whether it runs").add_argument("--json", action="store_true")


def _group(commands: argparse._SubParsersAction[Parser], name: str, about: str) -> argparse._SubParsersAction[Parser]:
    return commands.add_parser(name, help=about).add_subparsers(
        dest="verb", metavar="VERB", required=True, parser_class=Parser
    )


def _addressed(commands: argparse._SubParsersAction[Parser], name: str, about: str) -> Parser:
    made = commands.add_parser(name, help=about)
    made.add_argument("--host", help=argparse.SUPPRESS)
    made.add_argument("--port", action=_Number, metavar="<port>", help=argparse.SUPPRESS)
    return made


class _Number(argparse.Action):
    """A whole number from 0, refused in the words of the real ``lms``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,  # noqa: ARG002  argparse passes it
    ) -> None:
        """Store it, or end."""
        text = str(values)
        if not (text.isascii() and text.isdigit()):
            option = f"{', '.join(self.option_strings)} {self.metavar}"
            parser.error(f"option '{option}' argument '{text}' is invalid. Not a number")
        setattr(namespace, self.dest, int(text))
