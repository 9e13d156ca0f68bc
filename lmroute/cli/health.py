"""Tell how the servers are, once or as they change, and what that means for each rule of the policy.

All servers are asked at once, for the list of their models only: that costs no token and loads nothing.

  lmroute health                                    the servers of the composition, and its rules
  lmroute health lmstudio ollama                    these, selected or not
  lmroute health --wait 60 && python run.py         wait for servers that are being started
  lmroute health --watch                            a line for each change, until Ctrl-C
  lmroute health provider=[lmstudio,openai] --json

States: healthy, degraded (serves, but something is not as it should be), throttled (asked for a pause), auth (wants a
token, or another one), misconfigured (waiting does not help), blocked (further away than the profile allows), down,
and unknown (cannot be asked, or was not for a while).

The JSON document is {format_version, providers, rules}; with --watch it is one object a line, first one for each
provider, then one for each change. Of a provider:

  provider, state, lastChecked, since    times are RFC 3339 in UTC, or null
  message, errorCode, fix                what is wrong and what to do; errorCode is null when nothing is
  latency, models, source                milliseconds; names; probe, call, shared (another process) or none
  phases                                 of each name, ms, outcome (ok, failed, skipped)

Of a rule: policy, rule, state, up (how many candidates), candidates (of each provider, model, state).

Exit codes: 0 all are well, 1 somebody is not, or the configuration cannot be read, 2 wrong usage, 130 after Ctrl-C.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from lmroute.health.standing import RuleVerdict
    from lmroute.health.status import Status
    from lmroute.model import Health
    from lmroute.providers.probe import ProbeResult

FORMAT_VERSION = "1.0"

_PAUSE_S = 1.0
"""Between two looks of --wait."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("words", nargs="*", metavar="PROVIDER|OVERRIDE",
        help="providers, by default those of the composition; and overrides as for run.py")  # fmt: skip
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--watch", action="store_true",
        help="go on, with a line for each change; per provider at most one in ten seconds")  # fmt: skip
    how.add_argument("--wait", type=_seconds, metavar="S",
        help="look again and again until all are well, for at most so many seconds")  # fmt: skip
    add("--interval", type=_seconds, metavar="S",
        help="seconds between two looks: with --wait 1, with --watch what health.interval_s says")  # fmt: skip
    add("--serving", action="store_true",
        help="exit with 1 only if some rule of the policy has no candidate that serves")  # fmt: skip
    add("--chat", action="store_true",
        help="also ask each server to answer with one token; that costs one, and may load a model")  # fmt: skip
    add("--phases", action="store_true", help="tell how long each step took, of those that are well too")
    add("--json", action="store_true", help="the same for programs")


def run(arguments: argparse.Namespace) -> int:
    """Look, and tell."""
    # Imported late: --help needs neither Hydra nor an HTTP client.
    from lmroute.cli.models.choice import split  # noqa: PLC0415

    with told_as("json" if arguments.json and not arguments.watch else "text"):
        names, overrides = split(arguments.words)
        _refuse_what_does_not_go_together(arguments, names)
        asked = _Asked(names, overrides)
        if arguments.watch:
            from lmroute.cli.watching import watch  # noqa: PLC0415

            return watch(asked.on, asked.settings(arguments.interval), as_json=arguments.json)
        return _once(asked, arguments)


def _refuse_what_does_not_go_together(arguments: argparse.Namespace, names: Sequence[str]) -> None:
    if arguments.watch and (arguments.chat or arguments.serving or arguments.phases):
        option = "--chat" if arguments.chat else "--serving" if arguments.serving else "--phases"
        raise LmrouteError(f"{option} is for a single look, not for --watch\n  help: leave one of them out")
    if arguments.interval is not None and not arguments.watch and arguments.wait is None:
        raise LmrouteError("--interval goes with --watch or --wait\n  help: add one of them, or leave it out")
    if arguments.serving and names:
        raise LmrouteError(
            f"--serving is about the rules of the composition\n  help: instead of {', '.join(names)} write"
            f" provider=[{','.join(names)}]"
        )


class _Asked:
    """Who is meant, and the composition that they are from.

    Raises:
        ConfigError: it cannot be read.
        LmrouteError: there is no such provider.
    """

    def __init__(self, names: Sequence[str], overrides: Sequence[str]) -> None:
        from lmroute.cli.models.choice import chosen_from  # noqa: PLC0415  see run

        self.overrides = overrides
        self.stack, self.profiles = chosen_from(names, overrides)
        self.on = [profile for profile in self.profiles if profile.enabled]
        self.has_rules = not names

    def settings(self, interval_s: float | None) -> Health:
        """How to watch them."""
        given = self.stack.health
        return replace(given, watch=True, interval_s=given.interval_s if interval_s is None else interval_s)

    def statuses(self, results: dict[str, ProbeResult], began: float) -> list[Status]:
        """How each is; of one that is off, how to turn it on."""
        from lmroute.cli.models.choice import turned_on  # noqa: PLC0415
        from lmroute.health.looking import status_of  # noqa: PLC0415
        from lmroute.health.status import Status  # noqa: PLC0415

        return [
            status_of(results[profile.id], began)
            if profile.id in results
            else Status(profile.id, message="off, so it was not asked", fix=turned_on(profile, self.overrides))
            for profile in self.profiles
        ]


def _once(asked: _Asked, arguments: argparse.Namespace) -> int:
    from lmroute.cli.statuses import is_sick, lines  # noqa: PLC0415  see run
    from lmroute.health.looking import look  # noqa: PLC0415
    from lmroute.health.standing import verdicts  # noqa: PLC0415

    def is_well(results: dict[str, ProbeResult]) -> bool:
        if arguments.serving:
            return all(verdict.serving for verdict in verdicts(asked.stack, results))
        return bool(results) and not any(map(is_sick, asked.statuses(results, time.time())))  # nobody is not well

    pause_s = _PAUSE_S if arguments.interval is None else arguments.interval
    results = look(
        asked.on, asked.stack.health, chat=arguments.chat, until=is_well, wait_s=arguments.wait, pause_s=pause_s
    )
    now = time.time()
    statuses = asked.statuses(results, now)
    rules = verdicts(asked.stack, results) if asked.has_rules else ()
    if arguments.json:
        text = json.dumps(_document(statuses, rules), indent=2, ensure_ascii=False)
    else:
        told = [str(rule) for rule in rules]
        text = "\n".join(
            [*lines(statuses, now, phases=arguments.phases or arguments.chat), *([""] if told else []), *told]
        )
    emit(redact.text(f"{text}\n"))
    return int(not is_well(results))


def _document(statuses: Iterable[Status], rules: Iterable[RuleVerdict]) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "providers": [status.as_data() for status in statuses],
        "rules": [
            {
                "policy": rule.policy,
                "rule": rule.rule,
                "state": rule.state.value,
                "up": rule.up,
                "candidates": [
                    {"provider": one.candidate.provider, "model": one.candidate.model, "state": one.state.value}
                    for one in rule.standings
                ],
            }
            for rule in rules
        ],
    }


def _seconds(word: str) -> float:
    """A number of seconds of the command line.

    Raises:
        ValueError: it is none, or not more than 0.
    """
    seconds = float(word)
    if not 0 < seconds < float("inf"):
        raise ValueError
    return seconds


_seconds.__name__ = "number of seconds"  # what argparse calls it: "invalid number of seconds value: '-1'"
