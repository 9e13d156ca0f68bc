"""``verify`` and ``outages`` against every request, one by one, on thousands of small random policies."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from itertools import combinations
from random import Random
from typing import NamedTuple

import pytest

from lmroute.model import NOTHING_KNOWN, Attributes, Candidate, Facts, Locality, Named, Privacy, Rule, Selector, Traits
from lmroute.routing.conditions import compile_predicate
from lmroute.routing.decide import by_rule, decide
from lmroute.routing.policy import compile_policy, in_order
from lmroute.routing.proofs.findings import Flaw
from lmroute.routing.proofs.outages import outage, outages, refusals, servers
from lmroute.routing.proofs.verify import verify
from lmroute.routing.proofs.words import stated

CHUNKS, EACH = 16, 1260 if os.environ.get("CI") == "true" else 160
"""20,160 policies in CI, 2,560 elsewhere; each chunk has seeds of its own, the same every time."""

UNSHOWN = -1
"""The departures of a finding that no request can show."""

REDUNDANT = (Flaw.SHADOWED, Flaw.UNREACHABLE)


class Point(NamedTuple):
    """A request, the number of its departures from the defaults, and whom its rule asks: under the policy, and if no
    guarantee were enforced."""

    attributes: Attributes
    departures: int
    asked: tuple[Candidate, ...]
    freely: tuple[Candidate, ...]


class World:
    """What becomes of each request of a small policy, by ``decide`` and its parts."""

    def __init__(self, small, stack, requests=None):
        self.source, self.providers = stack.policy, stack.providers
        self.requests = requests or small.Requests((stack,))
        self.points = self.requests.points
        self.policy = compile_policy(self.source, self.providers)
        self.bare = self.policy
        if self.source.guarantees:
            self.bare = compile_policy(replace(self.source, guarantees=()), self.providers)
        everybody = replace(self.source, rules=(Rule("everybody", (Selector(),)),), default=None, caller_choice=None)
        self.everybody = compile_policy(everybody, self.providers)
        self.written = in_order(self.source)
        self.keys = [self.key(rule) for rule in self.written]
        self.of = [[] for _ in self.order]
        self.unmatched = []
        for attributes, departures in self.points:
            at = self.winner(attributes)
            asked = self.asks(self.policy, at, attributes)
            freely = asked if self.bare is self.policy else self.asks(self.bare, at, attributes)
            point = Point(attributes, departures, asked, freely)
            (self.unmatched if at is None else self.of[at]).append(point)

    @property
    def order(self):
        return range(len(self.policy.rules))

    def key(self, rule):
        numbers = [str(at) for at, other in enumerate(self.source.rules) if other is rule]
        return ("rules", *numbers) if numbers else ("default",)

    def winner(self, attributes):
        rule = self.policy.rule_for(attributes)
        return None if rule is None else next(at for at, each in enumerate(self.policy.rules) if each is rule)

    def asks(self, policy, at, attributes):
        """Whom a policy's rule asks, with every server up."""
        return () if at is None else by_rule(policy, policy.rules[at], attributes, NOTHING_KNOWN).candidates

    def able(self, attributes):
        """Ids of all providers that can serve a request and may."""
        return {candidate.provider for candidate in self.asks(self.everybody, 0, attributes)}


class Claims(dict):
    """What is the case, each with the fewest departures of a request that shows it."""

    def show(self, claim, departures):
        self[claim] = min(departures, self.get(claim, departures))


def expected(world):
    """Every finding that there has to be, but for the redundant rules."""
    claims = Claims()
    contradictions(world, claims)
    if world.source.default is None:
        for point in world.unmatched:
            claims.show((Flaw.GAP, ("rules",)), point.departures)
    reached(world, claims)
    for at in world.order:
        stranded(world, at, claims)
        never_tried(world, at, claims)
    return claims


def contradictions(world, claims):
    choice = world.source.caller_choice
    said = [*zip(world.keys, world.written, strict=True), *([(("caller_choice",), choice)] if choice else [])]
    said += [(("guarantees", str(at)), guarantee) for at, guarantee in enumerate(world.source.guarantees)]
    for key, part in said:
        holds = compile_predicate(part.when, world.source.domains)
        if not any(holds(attributes) for attributes, _ in world.points):
            claims.show((Flaw.CONTRADICTION, (*key, "when")), UNSHOWN)


def ways(world, policy):
    """Each request that is sent somewhere: the place that sends it, to whom, and what it departs in."""
    for at in world.order:
        for attributes, departures, asked, freely in world.of[at]:
            for candidate in freely if policy is world.bare else asked:
                yield world.keys[at], candidate, attributes, departures
    if choice := policy.caller_choice:
        for name in dict.fromkeys(option.profile.id for option in choice.options):
            for candidate in (Candidate(name, model) for model in ("auto", "m1", "m2")):
                for attributes, departures in world.points:
                    if decide(policy, replace(attributes, use=str(candidate))).is_answered:
                        yield ("caller_choice",), candidate, attributes, departures


def reached(world, claims):
    """Leaks, and private requests in the cloud."""
    guarantees = [(("guarantees", str(at)), *each) for at, each in enumerate(world.policy.guarantees)]
    for way, candidate, attributes, departures in ways(world, world.bare) if guarantees else ():
        for key, guarantee, holds in guarantees:
            if guarantee.forbids(world.providers[candidate.provider]) and holds(attributes):
                claims.show((Flaw.LEAK, key, way, candidate.provider), departures)
    for way, candidate, attributes, departures in ways(world, world.policy):
        is_cloud = world.providers[candidate.provider].locality is Locality.CLOUD
        if is_cloud and attributes.privacy is Privacy.PRIVATE and not is_allowed(world, candidate, attributes):
            claims.show((Flaw.UNGUARDED, way, candidate), departures)


def is_allowed(world, candidate, attributes):
    """Whether a guarantee about privacy names whom such requests may reach, and this is one of them."""
    profile = world.providers[candidate.provider]
    return any(
        "'privacy'" in repr(guarantee.when)
        and guarantee.only not in (None, Traits())
        and not guarantee.forbids(profile)
        and holds(attributes)
        for guarantee, holds in world.policy.guarantees
    )


def stranded(world, at, claims):
    if world.keys[at] == ("default",) and not world.source.default:
        return
    own = [option.profile for option in world.policy.rules[at].options]
    windows = [profile.context_window for profile in own if profile.context_window is not None]
    for attributes, departures, _, freely in world.of[at]:
        if freely:
            continue
        for name in world.able(attributes) - {profile.id for profile in own}:
            if is_thought_to(world.providers[name], attributes, windows):
                claims.show((Flaw.STRANDED, world.keys[at], name), departures)


def is_thought_to(profile, attributes, windows):
    """Whether a provider is one that could have been meant: no cloud for private requests, none of unknown window for
    those that are too long for the rule's own."""
    if profile.locality is Locality.CLOUD and attributes.privacy is Privacy.PRIVATE:
        return False
    too_long = windows and attributes.total_tokens >= min(windows) * 5 // 4 + 1
    return profile.context_window is not None or not too_long


def never_tried(world, at, claims):
    for place, use in enumerate(world.written[at].use if world.keys[at][0] == "rules" else ()):
        profile = world.providers.get(use.provider) if isinstance(use, Named) else None
        if profile is None or not profile.enabled or not world.of[at]:
            continue
        if not any(candidate.provider == use.provider for point in world.of[at] for candidate in point.freely):
            claims.show((Flaw.NEVER_TRIED, (*world.keys[at], "use", str(place))), UNSHOWN)


def claim(finding):
    """A finding in the way of ``expected``."""
    match finding.flaw:
        case Flaw.LEAK:
            return Flaw.LEAK, finding.key, finding.involved[0].key, finding.candidate.provider
        case Flaw.UNGUARDED:
            return Flaw.UNGUARDED, finding.key, finding.candidate
        case Flaw.STRANDED:
            return Flaw.STRANDED, finding.key, finding.message.removesuffix(" could").rpartition("; ")[2]
        case _:
            return finding.flaw, finding.key


def problems(world):
    """Where ``verify`` and the enumeration disagree, in words."""
    verdict, told = verify(world.source, world.providers), expected(world)
    found = [finding for finding in verdict.findings if finding.flaw not in REDUNDANT]
    claims = [claim(finding) for finding in found]
    if len(claims) != len(set(claims)):
        yield f"told twice: {[each for each, times in Counter(claims).items() if times > 1]}"
    yield from (f"{each} is not the case" for each in claims if each not in told)
    firsts = {each[:2] for each in claims if each[0] is Flaw.STRANDED}
    for each in told.keys() - set(claims):
        if each[0] is Flaw.UNGUARDED and any(other[0] is Flaw.UNGUARDED for other in claims):
            continue  # one way is told of many
        if each[0] is Flaw.STRANDED and each[:2] in firsts:
            continue  # one provider is told of many
        yield f"{each} is not found"
    for finding, each in zip(found, claims, strict=True):
        yield from witnessed(world, finding, told.get(each))
    yield from redundant(world, verdict)


def witnessed(world, finding, fewest):
    witness = finding.witness
    if witness is None:
        if fewest != UNSHOWN:
            yield f"{finding.flaw} without a witness"
        return
    attributes = witness.attributes
    decision = decide(world.policy, attributes)
    if not shows(world, finding, decision):
        yield f"{finding.flaw} {finding.key} is not shown by {witness.text}: {decision}"
    if world.requests.departures(attributes) != fewest:
        yield f"{finding.flaw} {finding.key}: {witness.text} departs in more fields than {fewest}"
    if world.requests.says_too_much(attributes):
        yield f"{witness.text} states what nobody asks for"
    if witness.stated != stated(attributes, world.source.domains) or witness.assumes:
        yield f"{witness} is not told as it is"


def shows(world, finding, decision):
    """Whether ``decide`` does with a witness what the finding says."""
    attributes = finding.witness.attributes
    match finding.flaw:
        case Flaw.GAP:
            return decision.rule == "" and not decision.considered
        case Flaw.LEAK:
            _, holds = world.policy.guarantees[int(finding.key[1])]
            reached = finding.candidate in decide(world.bare, attributes).candidates
            stopped = finding.candidate not in decision.candidates
            return holds(attributes) and reached and stopped
        case Flaw.UNGUARDED:
            return attributes.privacy is Privacy.PRIVATE and finding.candidate in decision.candidates
        case Flaw.STRANDED:
            nobody = not decision.candidates and not decide(world.bare, attributes).candidates
            return decision.rule == finding.name and nobody and bool(world.able(attributes))
        case _:
            return False


def redundant(world, verdict):
    """What is told of rules that never decide, against the requests that each rule is for."""
    wanted = [{n for n, (point, _) in enumerate(world.points) if rule.holds(point)} for rule in world.policy.rules]
    by_key = dict(zip(world.keys, wanted, strict=True))
    told = {finding.key: finding for finding in verdict.findings if finding.flaw in REDUNDANT}
    never = {world.keys[at] for at in world.order if wanted[at] and not world.of[at]}
    if told.keys() != never:
        yield f"rules that never decide are {never}, not {told.keys()}"
        return
    for key, finding in told.items():
        takers = [by_key[part.key] for part in finding.involved]
        alone = any(wanted[at] >= by_key[key] for at in world.order[: world.keys.index(key)])
        union = set().union(*takers)
        spared = [n for n in range(len(takers)) if set().union(*takers[:n], *takers[n + 1 :]) >= by_key[key]]
        before = all(world.keys.index(part.key) < world.keys.index(key) for part in finding.involved)
        right = (len(takers) == 1) is alone is (finding.flaw is Flaw.SHADOWED) and before
        if not (union >= by_key[key] and not spared and right):
            yield f"{finding.flaw} {key} is blamed on {[part.key for part in finding.involved]}"


# ---- servers that are down


def down(world, names):
    """The facts while these providers' servers do not answer."""
    candidates = {option.candidate for rule in world.policy.rules for option in rule.options}
    return Facts(out={candidate: "down" for candidate in candidates if candidate.provider in names})


def outage_problems(world, *, thoroughly):
    place = {name: server for server in servers(world.providers.values()) for name in server}
    told = Claims()
    for at in world.order:
        for point in world.of[at]:
            if 0 < len(needs := frozenset(place[candidate.provider] for candidate in point.asked)) <= 2:
                told.show((world.keys[at], needs), point.departures)
    found = {}
    for each in outages(world.source, world.providers, 2):
        needs = frozenset(place[name] for name in each.down)
        if (each.key, needs) in found:
            yield f"told twice: {each}"
        found[each.key, needs] = each
        yield from outage_witnessed(world, each, needs)
    yield from (f"{each} is not the case" for each in found.keys() - told.keys())
    yield from (f"{each} is not found" for each in told.keys() - found.keys())
    for each in found.keys() & told.keys():
        if world.requests.departures(found[each].witness.attributes) != told[each]:
            yield f"{found[each]} departs in more fields than {told[each]}"
    if thoroughly and {each for each in found if len(each[1]) == 1} != {
        (each.key, frozenset(place[name] for name in each.down)) for each in outages(world.source, world.providers, 1)
    }:
        yield "k=1 finds others than k=2"


def outage_witnessed(world, found, needs):
    attributes = found.witness.attributes
    rule = world.policy.rules[world.keys.index(found.key)]
    used = {option.profile.id for option in rule.options if option.profile.enabled}
    if set(found.down) | set(found.left) != used or set(found.down) & set(found.left):
        yield f"{found} does not tell all of {used}"
    whole = frozenset().union(*needs)
    if decide(world.policy, attributes, down(world, whole)).is_answered:
        yield f"{found} is answered all the same"
    for server in needs:
        if not decide(world.policy, attributes, down(world, whole - server)).is_answered:
            yield f"{found} is not answered without {server} down either"


def given_outage_problems(world):
    """As above, for servers that are named; by every two of the providers."""
    for names in [(), *combinations(world.providers, 1), *combinations(world.providers, 2)]:
        dead = {name for server in servers(world.providers.values()) if server & set(names) for name in server}
        facts, told = down(world, dead), Claims()
        for at in world.order:
            for attributes, departures, asked, _ in world.of[at]:
                if asked and not by_rule(world.policy, world.policy.rules[at], attributes, facts).is_answered:
                    told.show(world.keys[at], departures)
        found = {each.key: each for each in outage(world.source, world.providers, names)}
        if found.keys() != told.keys():
            yield f"with {names} down, {told.keys()} lose requests, not {found.keys()}"
            continue
        for key, each in found.items():
            attributes = each.witness.attributes
            if decide(world.policy, attributes, facts).is_answered or not decide(world.policy, attributes).is_answered:
                yield f"with {names} down, {each.witness.text} is not lost"
            if world.requests.departures(attributes) != told[key]:
                yield f"with {names} down, {each.witness.text} departs in more fields than {told[key]}"


def drawn(small, seed):
    """The first stack of a seed that is small enough, and its requests."""
    chance = Random(seed)
    while True:
        stack = small.Drawing(chance).stack()
        requests = small.Requests((stack,))
        if requests.points is not None:
            return stack, requests


def refused(world):
    """What no candidate of its rule serves though every server is up."""
    told = {lost.key: lost.witness.attributes for lost in refusals(world.source, world.providers)}
    for at in world.order:
        key = world.keys[at]
        meant = key == ("default",) and not world.source.default
        is_refused = not meant and any(not asked for _, _, asked, _ in world.of[at])
        if is_refused and key not in told:
            yield f"{key} refuses a request"
        if key in told and (decide(world.policy, told[key]).candidates or key != world.keys[rule_of(world, told[key])]):
            yield f"{key}: {told[key]} is not refused there"


def rule_of(world, attributes):
    return next(at for at, rule in enumerate(world.policy.rules) if rule.holds(attributes))


def all_problems(world, *, thoroughly):
    yield from problems(world)
    yield from refused(world)
    yield from outage_problems(world, thoroughly=thoroughly)
    if thoroughly:
        yield from given_outage_problems(world)


def show(small, stack, *, thoroughly):
    """Fail with the smallest policy that fails alike."""

    def fails(stacks):
        requests = small.Requests(stacks)
        if requests.points is None:
            return False
        return next(all_problems(World(small, stacks[0], requests), thoroughly=thoroughly), None) is not None

    (least,) = small.smallest((stack,), fails)
    found = list(all_problems(World(small, least), thoroughly=thoroughly))
    pytest.fail("\n".join((small.told((least,)), "", *found)), pytrace=False)


@pytest.mark.slow
@pytest.mark.no_cover  # it would take three times as long, and other tests cover the same lines
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_verify_and_outages_agree_with_every_request(small, chunk):
    for seed in range(chunk * EACH, (chunk + 1) * EACH):
        (stack, requests), thoroughly = drawn(small, seed), seed % 16 == 0
        if next(all_problems(World(small, stack, requests), thoroughly=thoroughly), None) is not None:
            show(small, stack, thoroughly=thoroughly)
