"""Prove what can never happen under a policy, or show the smallest request that it happens to.

Every request is taken into account, none is sampled: which rules can decide, whether some request meets none, whether
a guarantee is kept by the rules, their fallbacks, the default and what callers may choose. With --down or --k also
which requests have no answer while servers are down.

    lmroute policy verify routing=private_local provider=[lmstudio,openai,embedded]
    lmroute policy verify --policy mine.yaml provider=[lmstudio,openai] --k 1
    lmroute policy verify --down lmstudio --format json

Exit codes: 0 proved, 1 an error (--fail-on warning: or a warning), or a request that servers leave unanswered, 2 wrong
usage.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import colored, emit
from lmroute.diagnostics import Severity

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from lmroute.diagnostics import Diagnostic
    from lmroute.model import Stack
    from lmroute.routing.proofs.findings import Finding
    from lmroute.routing.proofs.outages import Outage
    from lmroute.routing.proofs.verify import Verdict
    from lmroute.validate import Checked

FORMAT_VERSION = "1.0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("overrides", nargs="*", metavar="OVERRIDE", help="as for run.py: provider=[lmstudio,openai] routing=local_only")
    add("--policy", metavar="POLICY",
        help="an option (local_first), a file (mine.yaml), or either in a git revision (main:local_first)")  # fmt: skip
    add("--refused", action="store_true", help="what no candidate of its rule can or may serve, every server being up")
    add("--down", action="append", default=[], metavar="PROVIDER",
        help="which requests have no answer while its server is down; several with commas, or given again")  # fmt: skip
    add("--k", type=int, default=0, metavar="N", help="the same for any N servers at once, or fewer")
    add("--fail-on", choices=tuple(Severity), default=Severity.ERROR, help="what exits with 1; errors by default")
    add("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Verify, and tell."""
    with told_as(arguments.format):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help needs no Hydra.
    from lmroute.cli.policy.choice import policy_of  # noqa: PLC0415
    from lmroute.routing.proofs.findings import Flaw  # noqa: PLC0415
    from lmroute.routing.proofs.outages import refusals  # noqa: PLC0415
    from lmroute.routing.proofs.verify import verify  # noqa: PLC0415

    checked = _with_providers(policy_of(arguments.policy, arguments.overrides))
    verdict = verify(checked.stack.policy, checked.stack.providers)
    unread = any(finding.flaw is Flaw.TOO_COMPLEX for finding in verdict.findings)
    lost = [] if unread else _lost(checked.stack, arguments)
    refused = list(refusals(checked.stack.policy, checked.stack.providers)) if arguments.refused and not unread else []
    told = _told(checked, verdict)
    if arguments.format == "json":
        text = json.dumps(_document(checked, verdict, told, refused, lost), indent=2)
    else:
        text = "\n".join(_lines(checked, verdict, [diagnostic for diagnostic, _ in told], refused, lost))
    emit(redact.text(text) + "\n")
    failing = {Severity.ERROR, Severity(arguments.fail_on)}
    return int(bool(lost) or any(diagnostic.severity in failing for diagnostic, _ in told))


def _with_providers(checked: Checked) -> Checked:
    """The same. Raises ConfigError when nobody is selected: then anything could be proved."""
    from lmroute.errors import ConfigError  # noqa: PLC0415  see run

    if not checked.stack.providers:
        raise ConfigError([found for found in checked.warnings if found.severity is Severity.ERROR])
    return checked


def _lost(stack: Stack, arguments: argparse.Namespace) -> list[Outage]:
    """What has no answer while servers are down, as far as that is asked."""
    from lmroute.config.complaints import did_you_mean  # noqa: PLC0415  see run
    from lmroute.errors import LmrouteError  # noqa: PLC0415  see run
    from lmroute.routing.proofs.outages import outage, outages  # noqa: PLC0415  see run

    if arguments.k < 0:
        raise LmrouteError(f"--k {arguments.k}: a number of servers is 0 or more")
    down = [name for word in arguments.down for name in word.split(",") if name]
    for name in down:
        if name not in stack.providers:
            advice = did_you_mean(name, stack.providers) or f"selected: {', '.join(stack.providers)}"
            raise LmrouteError(f"--down {name}: no such provider is selected\n  help: {advice}")
    found = list(outage(stack.policy, stack.providers, down)) if down else []
    told = {(lost.key, lost.down) for lost in found}
    more = outages(stack.policy, stack.providers, arguments.k)
    return found + [lost for lost in more if (lost.key, lost.down) not in told]


def _told(checked: Checked, verdict: Verdict) -> list[tuple[Diagnostic, Finding | None]]:
    """What is wrong with the policy, in the order of the places; the proofs' own with what they found."""
    from lmroute.validate.pipeline import stamped  # noqa: PLC0415  see run
    from lmroute.validate.rules.proofs import CODES, diagnosed  # noqa: PLC0415  see run

    told: list[tuple[Diagnostic, Finding | None]] = [
        (stamped(diagnosed(finding, checked.locate)), finding) for finding in verdict.findings
    ]
    others = (found for found in checked.warnings if found.code.startswith("LMR3"))
    told += [(found, None) for found in others if found.code not in CODES.values()]
    return sorted(told, key=lambda pair: (pair[0].location, pair[0].code))


def _lines(
    checked: Checked, verdict: Verdict, told: Sequence[Diagnostic], refused: Sequence[Outage], lost: Sequence[Outage]
) -> Iterator[str]:
    from lmroute.diagnostics import Report  # noqa: PLC0415  see run
    from lmroute.validate.reporters import render  # noqa: PLC0415  see run

    stack = checked.stack
    yield f"policy '{stack.policy.name}' ({checked.locate(('routing',))}) over {', '.join(stack.providers)}"
    if told:
        yield from ("", *render("text", Report(tuple(told)), color=colored()).splitlines())
    yield from ("", "proved for every request:")
    yield from (f"  {statement}" for statement in verdict.proved or ("nothing",))
    if refused:
        yield from ("", "refused, with every server up:")
        yield from (f"  {_loss(outage, checked)}" for outage in refused)
    if lost:
        yield from ("", "without an answer while servers are down:")
        yield from (f"  {' and '.join(outage.down)} down: {_loss(outage, checked)}" for outage in lost)


def _loss(outage: Outage, checked: Checked) -> str:
    left = f"{', '.join(outage.left)} cannot serve it" if outage.left else "its rule has no candidate"
    left += " left" if outage.down and not outage.left else ""
    place = checked.locate(("routing", *outage.key))
    return f"{outage.witness.text} (rule '{outage.rule}', {place}): {left}"


def _document(
    checked: Checked,
    verdict: Verdict,
    told: Sequence[tuple[Diagnostic, Finding | None]],
    refused: Sequence[Outage],
    lost: Sequence[Outage],
) -> dict[str, Any]:
    stack = checked.stack
    return {
        "format_version": FORMAT_VERSION,
        "policy": stack.policy.name,
        "providers": list(stack.providers),
        "proved": list(verdict.proved),
        "findings": [_finding(diagnostic, finding) for diagnostic, finding in told],
        "refused": [_outage(outage, checked) for outage in refused],
        "unanswered": [_outage(outage, checked) for outage in lost],
    }


def _outage(outage: Outage, checked: Checked) -> dict[str, Any]:
    from lmroute.validate.reporters.json_ import located  # noqa: PLC0415  see run

    return {
        "down": list(outage.down),
        "rule": outage.rule,
        "location": located(checked.locate(("routing", *outage.key))),
        "left": list(outage.left),
        "witness": outage.witness.stated,
        "assumes": outage.witness.assumes or None,
    }


def _finding(diagnostic: Diagnostic, finding: Finding | None) -> dict[str, Any]:
    """A finding as data; of a proof with its kind, the request that shows it, and who is reached."""
    from lmroute.validate.reporters.json_ import finding_document  # noqa: PLC0415  see run

    told = finding_document(diagnostic)
    del told["reproduce"]  # this very command does
    if finding is None:
        return {**told, "flaw": None, "witness": None, "assumes": None, "candidate": None}
    return {
        **told,
        "flaw": finding.flaw.value,
        "witness": finding.witness.stated if finding.witness else None,
        "assumes": (finding.witness.assumes or None) if finding.witness else None,
        "candidate": str(finding.candidate) if finding.candidate else None,
    }
