"""What can never happen under a policy, and what can though it should not: decided for every request, none left out.

Each question is one of coverage: "is there a request in these boxes that is in none of those?" (``covering``). A yes
comes with the request that states the least. What is taken as given: the profiles' capabilities and windows, every
server up, no budget used up; what servers do is asked in ``outages``. A pattern on free text is an atom: its
combinations with others are taken to be possible where no example was found, and the witness says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from lmroute.routing.proofs import words
from lmroute.routing.proofs.covering import uncovered
from lmroute.routing.proofs.findings import Finding, Flaw
from lmroute.routing.proofs.guards import IS_PRIVATE, leaks, unguarded
from lmroute.routing.proofs.rules import contradictions, covered, gaps
from lmroute.routing.proofs.service import never_tried, stranded
from lmroute.routing.proofs.space import MOST_BOXES, Space, TooComplex
from lmroute.routing.proofs.territory import Territory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lmroute.model import Policy, Profile


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of verifying a policy.

    Attributes:
        proved: what holds for every request, in words.
    """

    findings: tuple[Finding, ...]
    proved: tuple[str, ...]


def verify(policy: Policy, providers: Mapping[str, Profile]) -> Verdict:
    """Everything that is wrong with a policy over these providers, and what is proved of it."""
    space = Space.of([policy], providers.values(), also=[IS_PRIVATE])
    territory = Territory.of(policy, providers, space)
    asked = (contradictions, covered, gaps, leaks, unguarded, stranded, never_tried)
    try:
        findings = tuple(chain.from_iterable(ask(territory) for ask in asked))
    except TooComplex as too:
        message = f"its condition takes more than {MOST_BOXES} cases, so nothing was proved of the policy"
        return Verdict((Finding(Flaw.TOO_COMPLEX, (*too.key, "when"), too.name, message),), ())
    return Verdict(findings, tuple(_proved(territory, {finding.flaw for finding in findings}, findings)))


def _proved(territory: Territory, flaws: set[Flaw], findings: Sequence[Finding]) -> Iterator[str]:
    """What holds for every request, in words."""
    policy = territory.policy.source
    leaking = {finding.name for finding in findings if finding.flaw in {Flaw.LEAK, Flaw.UNPROVED}}
    ways = f"{len(policy.rules)} rule{'s' * (len(policy.rules) > 1)} with their fallbacks"
    ways += ", the default" if policy.default else ""
    ways += ", what callers may choose" if policy.caller_choice else ""
    for guarantee in policy.guarantees:
        if guarantee.name not in leaking:
            forbidden = [p.id for p in territory.policy.providers.values() if p.enabled and guarantee.forbids(p)]
            about = words.condition(guarantee.when)
            whom = f"reaches {' or '.join(forbidden)}" if forbidden else "meets a forbidden provider: none is selected"
            yield f"guarantee '{guarantee.name}': no request ({about}) {whom} ({ways})"
    if not flaws & {Flaw.CONTRADICTION, Flaw.SHADOWED, Flaw.UNREACHABLE}:
        each = "each rule" if len(policy.rules) > 1 else "the one rule"
        yield f"{each} decides some request{_hedge(territory)}"
    if Flaw.GAP not in flaws:
        end = "meets a rule" if policy.default is None else "meets a rule or the default"
        yield f"every request {end}" if policy.default != () else "every request meets a rule, or is refused on purpose"
    if Flaw.STRANDED not in flaws:
        yield "no request is turned away that another selected provider could and may serve"


def _hedge(territory: Territory) -> str:
    """The rules of which that holds only if there are texts of which no example was found, in words."""
    space = territory.space
    unsure = [
        f"'{holding.rule.name}'"
        for holding in territory.holdings
        if space.assumptions and uncovered(space.layout, holding.boxes, [*holding.earlier, *space.assumptions]) is None
    ]
    return (
        f" ({', '.join(unsure)} only if some text matches the patterns as that takes; none was found)" if unsure else ""
    )
