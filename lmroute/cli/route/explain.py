"""Tell why a request goes where it goes: each rule and each test of it, each candidate and what speaks against it.

The request is described by flags, or taken from a record with --call. Nobody is asked: who is down or used up is what
you say with --down, --throttled, --budget-used and --load, or what the record says.

    lmroute route explain --privacy private --prompt-tokens 9000 routing=local_first
    lmroute route explain --task qa --down lmstudio provider=[lmstudio,openai]
    lmroute route explain --policy main:local_first --tag urgent
    lmroute route explain --call 3f9a
    lmroute route explain --call 3f9a --records outputs/2025-06-01

Exit codes: 0 somebody answers, 1 nobody may or everybody is out, or the configuration cannot be read, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit
from lmroute.errors import LmrouteError

if TYPE_CHECKING:
    from lmroute.routing.policy import CompiledPolicy
    from lmroute.validate import Checked

    _Shown: TypeAlias = tuple[list[str], dict[str, Any], bool]
    """Lines for people, the same for programs, and whether somebody answers."""

FORMAT_VERSION = "1.0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from lmroute.cli.route import request  # noqa: PLC0415  see _run

    add = parser.add_argument
    add("overrides", nargs="*", metavar="OVERRIDE", help="as for run.py: provider=[lmstudio,openai] routing=local_only")
    add("--policy", metavar="POLICY",
        help="an option (local_first), a file (mine.yaml), or either in a git revision (main:local_first)")  # fmt: skip
    add("--call", type=_beginning, metavar="ID", help="explain a recorded call; the beginning of its id is enough")
    add("--records", type=Path, metavar="PATH",
        help="a file or folder of records; by default outputs and multirun, then those of all programs")  # fmt: skip
    add("--format", choices=("text", "json"), default="text")
    request.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Explain, and say by the exit code whether somebody answers."""
    with told_as(arguments.format):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help needs no Hydra.
    from lmroute.cli.policy.choice import policy_of, reservations  # noqa: PLC0415
    from lmroute.cli.route import request  # noqa: PLC0415

    if arguments.records and not arguments.call:
        raise LmrouteError("--records is where --call looks; give --call ID too")
    if arguments.call and (others := request.given(arguments)):
        raise LmrouteError(f"--call takes the request from its record; leave out {', '.join(others)}")
    checked = policy_of(arguments.policy, arguments.overrides)
    lines, document, is_answered = (_recorded if arguments.call else _described)(arguments, checked)
    if arguments.format == "json":
        lines = [json.dumps(document, indent=2, ensure_ascii=False, default=str)]
    emit(redact.text("\n".join(lines)) + "\n")
    print(redact.text(reservations(checked)), end="", file=sys.stderr)
    return 0 if is_answered else 1


def _beginning(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give an id of a call, or its beginning")
    return text


def _described(arguments: argparse.Namespace, checked: Checked) -> _Shown:
    """The request that flags describe."""
    from lmroute.cli.route import request, text  # noqa: PLC0415  see _run
    from lmroute.routing.explain import explain  # noqa: PLC0415
    from lmroute.routing.scenario import facts_of  # noqa: PLC0415

    asked, policy = request.asked(arguments, checked.stack), _compiled(checked)
    explanation = explain(policy, asked.attributes, facts_of(policy, asked.attributes, asked.scenario))
    lines = text.lines(explanation, checked.locate, text.circumstances(asked))
    document = {**text.located(explanation, checked.locate), "circumstances": text.circumstances_as_data(asked)}
    return lines, {**_head(arguments), **document}, explanation.decision.is_answered


def _recorded(arguments: argparse.Namespace, checked: Checked) -> _Shown:
    """The request of a recorded call."""
    from lmroute.cli.route import recorded, text  # noqa: PLC0415  see _run
    from lmroute.routing.explain import explain  # noqa: PLC0415
    from lmroute.routing.vocabulary import Vocabulary  # noqa: PLC0415

    found = recorded.find(arguments.call, arguments.records)
    if problem := Vocabulary.of(checked.stack.policy).problem(found.call.attributes):
        differences = [f"the request is refused: {problem}"]
        document = {"is_answered": False, "refused": problem, "recorded": recorded.as_data(found, differences)}
        return recorded.comparison(found, differences), {**_head(arguments), **document}, False
    explanation = explain(_compiled(checked), found.call.attributes, found.call.facts)
    differences = recorded.differences(found, explanation)
    lines = text.lines(explanation, checked.locate, recorded.circumstances(found.call.facts))
    document = {**text.located(explanation, checked.locate), "recorded": recorded.as_data(found, differences)}
    lines += ["", *recorded.comparison(found, differences)]
    return lines, {**_head(arguments), **document}, explanation.decision.is_answered


def _compiled(checked: Checked) -> CompiledPolicy:
    from lmroute.routing.policy import compile_policy  # noqa: PLC0415  see _run

    return compile_policy(checked.stack.policy, checked.stack.providers, checked.stack.seed)


def _head(arguments: argparse.Namespace) -> dict[str, Any]:
    from lmroute.config.secrecy import masked  # noqa: PLC0415  see _run

    overrides = [masked(override) for override in arguments.overrides]
    return {"format_version": FORMAT_VERSION, "asked": arguments.policy, "overrides": overrides}
