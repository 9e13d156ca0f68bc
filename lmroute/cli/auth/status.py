"""Tell which key each provider needs, where it is looked for, and whether it is there. Keys are never shown.

  lmroute auth                              the providers of the composition
  lmroute auth openai lmstudio              these, selected or not
  lmroute auth --all --json
  lmroute auth provider=[openai] --run      runs {command: …} references too, which may ask for a password

What is missing is told on stderr, with what to do. The JSON document is {format_version, secrets}. Of each:

  provider, type, enabled           'telemetry.otlp' stands for the collector's, without a type
  source, name, optional            of the reference, null where no key is sent; of a command its program only
  present                           null when it was not looked for: a command, without --run
  usable                            false when calls fail for want of it
  detail                            why, and what to do

Exit codes: 0 nothing is missing, 1 a provider that is on lacks a key that it needs, 2 wrong usage.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit, table
from lmroute.errors import ConfigError
from lmroute.secrets import Standing, describe

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from lmroute.diagnostics import Diagnostic
    from lmroute.model import Profile, SecretRef, Stack

FORMAT_VERSION = "1.0"
_HEAD = ("provider", "key from", "usable")


@dataclass(frozen=True, slots=True)
class Row:
    """Who needs a key, which, and how that stands; without a reference none is sent."""

    provider: str
    type: str | None
    enabled: bool
    ref: SecretRef | None
    standing: Standing | None

    @property
    def is_fine(self) -> bool:
        """Whether nothing fails for want of it."""
        return self.standing is None or self.standing.is_usable or not self.enabled

    def cells(self) -> tuple[str, ...]:
        """For people, under ``_HEAD``."""
        key = f"{self.standing.source} {self.standing.name}" if self.standing else "sends none"
        return (self.provider, key, self._usable())

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "provider": self.provider,
            "type": self.type,
            "enabled": self.enabled,
            "source": self.ref and self.ref.source.value,
            "name": self.standing and self.standing.name,
            "optional": self.ref.optional if self.ref else None,
            "present": self.standing and self.standing.present,
            "usable": self.standing is None or self.standing.is_usable,
            "detail": self.standing.detail if self.standing else "",
        }

    def _usable(self) -> str:
        if self.standing is None:
            return ""
        word = {None: "not run", True: "yes", False: "not set, optional"}[self.standing.present]
        return (word if self.standing.is_usable else "no") + ("" if self.enabled else " (off)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("words", nargs="*", metavar="PROVIDER|OVERRIDE",
        help="providers, by default those of the composition; and overrides as for run.py")  # fmt: skip
    add("--all", action="store_true", help="every profile there is")
    add("--run", action="store_true", help="run the commands that references name, to see whether they print a key")
    add("--json", action="store_true", help="the same for programs")


def run(arguments: argparse.Namespace) -> int:
    """Look, and tell."""
    with told_as("json" if arguments.json else "text"):
        found = list(_rows(arguments))
        if arguments.json:
            document = {"format_version": FORMAT_VERSION, "secrets": [row.as_data() for row in found]}
            text = json.dumps(document, indent=2, ensure_ascii=False)
        else:
            text = "\n".join(table([_HEAD, *(row.cells() for row in found)]))
        emit(redact.text(f"{text}\n"))
    for row in found:
        if not row.is_fine and row.standing:
            print(redact.text(f"{row.provider}: {row.standing.detail}"), file=sys.stderr)
    return int(not all(row.is_fine for row in found))


def _rows(arguments: argparse.Namespace) -> Iterator[Row]:
    # Imported late: --help needs no Hydra.
    from lmroute.cli.models.choice import profiles, split  # noqa: PLC0415
    from lmroute.cli.policy.choice import readable  # noqa: PLC0415
    from lmroute.config.compose import compose  # noqa: PLC0415

    names, overrides = split(arguments.words)
    if arguments.all:
        yield from _of(_every(overrides), run=arguments.run)
    elif names:
        yield from _of(profiles(names, overrides, ("status", "set", "clear")), run=arguments.run)
    else:
        yield from _of_stack(readable(compose(overrides)).stack, run=arguments.run)


def _every(overrides: Sequence[str]) -> Sequence[Profile]:
    """All profiles but those that lack something, as an endpoint that only the user knows; which is said."""
    from lmroute.cli.models.choice import profiles  # noqa: PLC0415  see _rows
    from lmroute.config import paths  # noqa: PLC0415  see _rows

    names = paths.options("provider")
    while True:
        try:
            return profiles(names, overrides)
        except ConfigError as error:
            faults = {name: fault for name in names for fault in error.diagnostics if _is_about(name, fault)}
            names = [name for name in names if name not in faults]
            if not (faults and names):
                raise
            for name, fault in faults.items():
                print(redact.text(f"{name}: left out: {fault.message} ({fault.key})"), file=sys.stderr)


def _is_about(name: str, fault: Diagnostic) -> bool:
    return fault.key.startswith(f"providers.{name}.")


def _of_stack(stack: Stack, *, run: bool) -> Iterator[Row]:
    yield from _of(list(stack.providers.values()), run=run)
    if (otlp := stack.telemetry.otlp) and otlp.auth_token:
        yield Row(
            "telemetry.otlp", None, enabled=True, ref=otlp.auth_token, standing=describe(otlp.auth_token, run=run)
        )


def _of(profiles: Sequence[Profile], *, run: bool) -> Iterator[Row]:
    for profile in profiles:
        ref = profile.auth_token
        yield Row(profile.id, profile.type, profile.enabled, ref, describe(ref, run=run) if ref else None)
