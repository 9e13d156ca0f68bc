"""Another configuration for an engine that is at work."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from dspy import lm15

import lmroute
from lmroute.engine.identity import stack_name
from lmroute.engine.live import Live
from lmroute.engine.provider import Providers
from lmroute.model import Budget, Named, Period, Rule, Selector
from lmroute.telemetry.ledger import Ledger

GONE = lm15.TransportError("gone")


@pytest.fixture
def engine_of(mode, make):
    """An engine with real children: ``engine_of(stack) -> engine``, closed at the end."""
    made = []

    def build(stack, live=None):
        live = live or Live()
        made.append(mode.router_type.of(stack, live, Providers(live.learnt)))
        return made[-1]

    yield build
    for engine in made:
        mode.close(engine)


def rule(*names):
    return (Rule("r", use=tuple(map(Named, names))),)


def test_the_next_call_goes_by_the_new_one(mode, make, server, engine_of):
    server.answers(server.http(server.chat("hi", model="m")))
    one, two = server.profile(id="one"), server.profile(id="two")
    engine = engine_of(make.stack(one, two, rules=rule("one")))
    name = engine.routing.name
    assert mode.complete(engine, make.ask()).provider_data["lmroute"]["provider"] == "one"
    before = dict(engine.children)
    engine.reroute(make.stack(one, two, rules=rule("two")))
    assert mode.complete(engine, make.ask()).provider_data["lmroute"]["provider"] == "two"
    assert engine.children == before
    assert engine.routing.name != name
    assert engine.stack.policy.rules == rule("two")


def test_engines_of_the_same_profiles_are_kept_and_others_are_made(mode, make, server, engine_of):
    server.answers(server.http(server.chat("hi")))
    one, two = server.profile(id="one"), server.profile(id="two")
    engine = engine_of(make.stack(one, two))
    before = dict(engine.children)
    changed = replace(two, models=("another",))
    engine.reroute(make.stack(one, changed, server.profile(id="three"), rules=rule("two")))
    assert engine.children["one"] is before["one"]
    assert engine.children["two"] is not before["two"]
    assert list(engine.children) == ["one", "two", "three"]
    response = mode.complete(engine, make.ask())
    assert response.provider_data["lmroute"]["attempts"][0]["provider"] == "two"
    assert server.received[-1].json["model"] == "another"


def test_a_call_under_way_ends_by_what_it_began_with(mode, make):
    engine = None
    old, new = make.stack(make.profile("a"), make.profile("b")), make.stack(make.profile("c"))

    class Rerouting(mode.child):
        def _line(self, request):
            engine.reroute(new)
            raise GONE

    children = {"a": Rerouting(), "b": mode.child("from b")}
    engine = mode.router(old, children)
    response = mode.complete(engine, make.ask())
    assert response.text == "from b"
    assert list(engine.children) == ["c"]
    assert response.provider_data["lmroute"]["policy"] != engine.routing.name


def test_what_is_known_of_the_servers_is_kept(mode, make, route):
    engine, children, _ = route(a=GONE, b="from b")
    for _ in range(6):
        mode.complete(engine, make.ask())
    engine.reroute(make.stack(make.profile("a"), make.profile("b"), deadline_s=10))
    mode.complete(engine, make.ask())
    assert len(children["a"].asked) == 5


def test_pins_stay_where_their_candidate_does(mode, make, route):
    def stack(*names, deadline_s=300.0):
        profiles = map(make.profile, names)
        return make.stack(*profiles, rules=(Rule("r", (Selector(),), pin=True),), deadline_s=deadline_s)

    engine, _, _ = route(stack("a", "b"), a=(GONE, "from a"), b="from b")
    assert mode.complete(engine, make.ask()).text == "from b"
    engine.reroute(stack("a", "b", deadline_s=10))
    assert mode.complete(engine, make.ask()).text == "from b"
    engine.reroute(stack("a"))
    assert mode.complete(engine, make.ask()).text == "from a"


def test_budgets_are_those_of_the_new_one(mode, make, tmp_path):
    stack = make.stack(make.profile("a"), make.profile("b"))
    live = Live(ledger=Ledger(tmp_path / "budgets.sqlite"))
    engine = mode.router(stack, {"a": mode.child("from a"), "b": mode.child("from b")}, live=live)
    mode.complete(engine, make.ask())
    budgets = (Budget("none", Period.RUN, replace(Selector(), providers=frozenset("a")), tokens=1),)
    engine.reroute(make.stack(make.profile("a"), make.profile("b"), policy={"budgets": budgets}))
    assert [mode.complete(engine, make.ask()).text for _ in range(2)] == ["from a", "from b"]
    engine.reroute(stack)
    assert mode.complete(engine, make.ask()).text == "from a"


def test_engines_that_were_replaced_are_closed_with_the_rest(mode, make, route):
    engine, children, _ = route(a="hi", b="hi")
    engine.reroute(make.stack(make.profile("b")))
    assert not hasattr(children["a"], "closed")
    mode.close(engine)
    assert children["a"].closed
    assert children["b"].closed


def test_both_engines_of_an_lm_share_what_is_made_of_a_profile(make):
    lm = lmroute.build(make.stack(make.profile("a")))
    engines = lm.engine, lm._async_engine_spec
    for engine in engines:
        engine.reroute(make.stack(make.profile("b")))
    first, second = (engine.children["b"]._provider for engine in engines)
    assert first is second


def test_changing_under_fire(make):
    """Threads call while another reroutes: every answer is from a provider of the configuration it is traced to."""

    class Fixed:
        def __init__(self, provider):
            self.name = provider.profile.id

        def complete(self, request):
            return make.answer(f"from {self.name}")

    class Engine(lmroute.RoutingEngine):
        child = Fixed

    live = Live()
    stacks = [make.stack(make.profile("a")), make.stack(make.profile("a"), make.profile("b"), rules=rule("b"))]
    engine = Engine.of(stacks[0], live, Providers(live.learnt))
    belongs = {stack_name(stack): name for stack, name in zip(stacks, "ab", strict=True)}
    over = threading.Event()

    def call():
        told = []
        while not over.is_set() or not told:
            told.append(engine.complete(make.ask()).provider_data["lmroute"])
        return told

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        for number in range(200):
            engine.reroute(stacks[number % 2])
        over.set()
    told = [one for called in calls for one in called.result()]
    assert all(belongs[one["policy"]] == one["provider"] for one in told)
