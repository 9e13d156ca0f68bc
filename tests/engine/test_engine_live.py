"""What calls learn of the servers, and what later calls make of it: breakers, pauses, slots, latency, budgets."""

import asyncio
import threading
import time

import pytest
from dspy import lm15

import lmroute
from lmroute.engine.live import Live
from lmroute.engine.live.learnt import Learnt
from lmroute.health.monitor import Monitor
from lmroute.model import (
    Budget,
    Candidate,
    Cost,
    Failure,
    Health,
    Locality,
    Order,
    Period,
    Profile,
    Rule,
    Selector,
    Traits,
)
from lmroute.providers.inventory import ListedModel
from lmroute.routing.breaker import STREAK
from lmroute.routing.quota import CAPACITY, THROTTLED_COST
from lmroute.telemetry.ledger import Ledger
from lmroute.telemetry.recorded import facts_from

GONE = lm15.TransportError("gone")
A, B = Candidate("a", "m"), Candidate("b", "m")


def resting(seconds):
    return lm15.RateLimitError("too many", retry_after=seconds)


def trace(response):
    return response.provider_data["lmroute"]


def asked(children):
    return {name: len(child.asked) for name, child in children.items()}


def both(make, **fields):
    """Two providers, the first one with these fields."""
    return make.stack(make.profile("a", **fields), make.profile("b"))


class TestBreaker:
    def test_who_keeps_failing_is_left_alone_and_probed_by_one_call(self, mode, make, clock, nesting):
        children = {"a": mode.child(GONE), "b": mode.child("from b")}
        engine = mode.router(both(make), children, sink=(sink := make.sink()))
        for _ in range(STREAK + 3):
            assert mode.complete(engine, make.ask()).text == "from b"
        assert asked(children) == {"a": STREAK, "b": STREAK + 3}
        assert trace(mode.complete(engine, make.ask()))["dropped"] == {
            "a/m": f"breaker open after {STREAK} failures in a row"
        }
        assert facts_from(sink.lines[-1]).out == {A: f"breaker open after {STREAK} failures in a row"}
        clock.forward(31)
        probe = children["a"] = nesting("a", lambda: engine.complete(make.ask()))
        assert mode.complete(engine, make.ask()).text == "from a"
        assert probe.found.text == "from b"
        assert trace(probe.found)["dropped"] == {"a/m": "breaker half-open, its one probe is under way"}
        assert len(probe.asked) == 1
        assert mode.complete(engine, make.ask()).text == "from a"

    def test_a_probe_that_ends_by_a_bug_lets_the_next_call_probe(self, mode, make, clock, route):
        engine, _, _ = route(a=(*[GONE] * STREAK, KeyError("bug"), "from a"), b="from b")
        for _ in range(STREAK):
            mode.complete(engine, make.ask())
        clock.forward(31)
        with pytest.raises(KeyError):
            mode.complete(engine, make.ask())
        assert mode.complete(engine, make.ask()).text == "from a"

    def test_the_last_provider_is_asked_whatever_is_known(self, mode, make, route):
        engine, _, _ = route(a=(*[GONE] * (STREAK + 2), "from a"))
        for _ in range(STREAK + 2):
            with pytest.raises(lm15.TransportError):
                mode.complete(engine, make.ask())
        assert mode.complete(engine, make.ask()).text == "from a"

    def test_who_is_out_is_asked_when_all_others_have_failed(self, mode, make, route):
        engine, _, _ = route(a=(*[GONE] * STREAK, "from a"), b=(*["from b"] * STREAK, GONE))
        for _ in range(STREAK):
            assert mode.complete(engine, make.ask()).text == "from b"
        assert mode.complete(engine, make.ask()).text == "from a"

    @pytest.mark.parametrize("error", [lm15.InvalidRequestError("malformed"), lm15.ContextLengthError("long")])
    def test_the_requests_own_faults_count_for_nothing(self, mode, make, route, error):
        engine, _, _ = route(a=error)
        for _ in range(STREAK + 1):
            with pytest.raises(type(error)):
                mode.complete(engine, make.ask())
        assert engine.routing.live.facts(time.monotonic()).out == {}

    def test_models_of_one_provider_are_told_apart(self, mode, make):
        stack = make.stack(make.profile("a", models=("m", "n")))
        child = mode.child(lambda request: GONE if request.model == "m" else "from n")
        engine = mode.router(stack, {"a": child})
        for _ in range(STREAK + 4):
            mode.complete(engine, make.ask())
        assert [request.model for request in child.asked].count("m") == STREAK


class TestRetryAfter:
    def test_who_asked_for_a_pause_is_not_asked_before_it_is_over(self, mode, make, route, clock):
        engine, children, sink = route(a=(resting(10), "from a"), b="from b")
        for _ in range(3):
            assert mode.complete(engine, make.ask()).text == "from b"
        assert asked(children) == {"a": 1, "b": 3}
        assert facts_from(sink.lines[-1]).throttled == {A: "throttled by the server"}
        assert clock.pauses == []
        clock.forward(11)
        assert mode.complete(engine, make.ask()).text == "from a"

    def test_the_last_one_left_is_waited_for(self, mode, make, route, clock):
        engine, _, sink = route(a=(resting(5), resting(7), "from a"))
        response = mode.complete(engine, make.ask())
        assert response.text == "from a"
        assert [attempt["errorCode"] for attempt in trace(response)["attempts"]] == ["rate_limit", "rate_limit", None]
        assert clock.pauses == [pytest.approx(5, abs=1), pytest.approx(7, abs=1)]
        assert sink.lines[-1]["waited"] == pytest.approx(12_000, abs=2000)
        assert sink.lines[-1]["overhead_us"] < 1e6

    def test_a_later_call_waits_for_the_pause_of_an_earlier_one(self, mode, make, route, clock):
        engine, _, _ = route(make.stack(make.profile("a"), deadline_s=8), a=(resting(10), "from a"))
        with pytest.raises(lm15.RateLimitError):
            mode.complete(engine, make.ask())
        assert clock.pauses == []
        clock.forward(4)
        assert mode.complete(engine, make.ask()).text == "from a"
        assert clock.pauses == [pytest.approx(6, abs=1)]

    def test_a_pause_beyond_the_deadline_is_not_waited_for(self, mode, make, route, clock):
        engine, children, sink = route(make.stack(make.profile("a"), deadline_s=20), a=resting(30))
        for _ in range(2):  # the second is not even asked
            with pytest.raises(lm15.RateLimitError) as caught:
                mode.complete(engine, make.ask())
            assert caught.value.retry_after == pytest.approx(30, abs=1)
        assert asked(children) == {"a": 1}
        assert [line["errorCode"] for line in sink.lines if line["kind"] == "call"] == ["rate_limit", "no_candidate"]

    def test_without_a_stated_pause_nobody_waits(self, mode, make, route, clock):
        engine, _, _ = route(a=(lm15.RateLimitError("too many"), "from a"))
        with pytest.raises(lm15.RateLimitError):
            mode.complete(engine, make.ask())
        assert clock.pauses == []

    def test_the_providers_retry_quota_bounds_them(self, mode, make, route, clock):
        engine, children, _ = route(make.stack(make.profile("a"), deadline_s=1e6), a=resting(1))
        with pytest.raises(lm15.RateLimitError):
            mode.complete(engine, make.ask())
        assert asked(children) == {"a": 1 + CAPACITY // THROTTLED_COST}

    def test_a_failure_that_ends_the_call_ends_the_waiting(self, mode, make, route, clock):
        engine, children, _ = route(a=resting(3), b=lm15.InvalidRequestError("malformed"))
        with pytest.raises(lm15.InvalidRequestError):
            mode.complete(engine, make.ask())
        assert asked(children) == {"a": 1, "b": 1}

    def test_for_real_over_http(self, mode, make, server):
        busy = server.http(
            {"error": {"message": "too many"}}, "429 Too Many Requests", "application/json", "Retry-After: 1"
        )
        server.answers(busy, server.http(server.chat("at last")))
        engine = mode.router(make.stack(p := server.profile(id="a")), {"a": mode.provider(p)})
        began = time.monotonic()
        assert mode.complete(engine, make.ask()).text == "at last"
        assert time.monotonic() - began >= 0.9


class TestSlots:
    def test_who_is_busy_is_passed_over(self, mode, make, nesting):
        engine = None
        children = {"a": nesting("a", lambda: engine.complete(make.ask())), "b": mode.child("from b")}
        engine = mode.router(both(make, concurrency=1), children, sink=(sink := make.sink()))
        assert mode.complete(engine, make.ask()).text == "from a"
        assert children["a"].found.text == "from b"
        inner = next(line for line in sink.lines if line["kind"] == "call")
        assert inner["considered"][0]["dropped"] == "busy: its limit is 1 at once"
        assert facts_from(inner).load == {A: 1}
        assert mode.complete(engine, make.ask()).text == "from a"

    def test_without_another_everybody_gets_a_turn_and_never_too_many_at_once(self, mode, make, at_once):
        meter = Meter(mode)
        engine = mode.router(make.stack(make.profile("a", concurrency=2)), {"a": meter})
        answers = at_once(engine, make.ask(), 12)
        assert [answer.text for answer in answers] == ["hi"] * 12
        assert meter.most <= 2
        assert mode.complete(engine, make.ask()).text == "hi"

    def test_a_turn_that_does_not_come_in_time_ends_the_call(self, mode, make, nesting):
        engine = None
        child = nesting("a", lambda: engine.complete(make.ask()))
        stack = make.stack(make.profile("a", concurrency=1), deadline_s=0.2)
        engine = mode.router(stack, {"a": child}, sink=(sink := make.sink()))
        assert mode.complete(engine, make.ask()).text == "from a"
        assert isinstance(child.found, lm15.TimeoutError)
        assert "a/m was busy until the deadline (at most 1 at once)" in str(child.found)
        assert len(child.asked) == 1
        inner = next(line for line in sink.lines if line["kind"] == "call")
        assert (inner["errorCode"], inner["waited"] >= 190) == ("timeout", True)
        assert engine.routing.live.facts(time.monotonic()).out == {}

    def test_who_was_busy_is_waited_for_when_the_others_have_failed(self, mode, make, nesting):
        engine = None
        children = {"a": nesting("a", lambda: engine.complete(make.ask())), "b": mode.child(GONE)}
        stack = make.stack(make.profile("a", concurrency=1), make.profile("b"), deadline_s=0.2)
        engine = mode.router(stack, children)
        mode.complete(engine, make.ask())
        assert len(children["b"].asked) == 1
        assert "b/m: transport (gone); a/m: timeout" in str(children["a"].found)

    def test_a_slot_comes_back_however_the_call_ends(self, mode, make, route):
        stack = make.stack(make.profile("a", concurrency=1), deadline_s=5)
        engine, _, _ = route(stack, a=(KeyError("bug"), GONE, "hi"))
        for error in (KeyError, lm15.TransportError):
            with pytest.raises(error):
                mode.complete(engine, make.ask())
        mode.stream(engine, make.ask(), stop_after=1)
        assert mode.complete(engine, make.ask()).text == "hi"


class TestLateTurns:
    """Calls that waited for their turn look again when it comes."""

    @pytest.fixture
    def crowd(self, mode, make, at_once):
        """16 calls of one provider at once: ``crowd(script, **of the stack) -> answers and errors, calls asked``.

        The first one is answered when all others wait behind it.
        """

        def build(*script, **fields):
            child = Queueing(mode, script, waiting=15)
            child.engine = mode.router(make.stack(make.profile("a", concurrency=1), **fields), {"a": child})
            return at_once(child.engine, make.ask(), 16), child.asked

        return build

    def test_a_budget_used_up_meanwhile_refuses_them(self, make, crowd):
        line = make.answer(usage=lm15.Usage(input_tokens=10, output_tokens=5))
        found, asked = crowd(line, policy={"budgets": (Budget("small", Period.RUN, tokens=30),)})
        refused = [error for error in found if isinstance(error, lm15.ConfigurationError)]
        assert (asked, len(refused)) == (2, 14)
        assert all("budget 'small' is used up" in str(error) for error in refused)

    def test_a_pause_asked_for_meanwhile_keeps_them_from_asking(self, crowd):
        found, asked = crowd(resting(60), deadline_s=30)
        assert asked == 1
        assert all(isinstance(error, lm15.RateLimitError) for error in found)
        assert all(50 < error.retry_after <= 60 for error in found)

    def test_the_last_provider_is_asked_though_it_went_out_meanwhile(self, crowd):
        found, asked = crowd(GONE)
        assert asked == 16
        assert all(isinstance(error, lm15.TransportError) for error in found)

    def test_another_is_asked_instead_when_there_is_one(self, mode, make, at_once):
        small = Budget("small", Period.RUN, Traits(providers=frozenset("a")), tokens=1)
        stack = make.stack(
            make.profile("a", concurrency=1), make.profile("b", concurrency=1), policy={"budgets": (small,)}
        )
        a, b = Queueing(mode, (make.answer("from a"),), waiting=6), Queueing(mode, (make.answer("from b"),), waiting=0)
        a.engine = b.engine = mode.router(stack, {"a": a, "b": b})
        b.waits_for = a
        found = at_once(a.engine, make.ask(), 8)
        assert sorted(answer.text for answer in found) == ["from a"] + ["from b"] * 7


class Queueing:
    """A child whose first call lasts until so many others wait for their turn at ``a``."""

    def __init__(self, mode, script, waiting):
        self.asked, self.engine, self.waits_for = 0, None, self
        self._script, self._waiting = script, waiting
        self._has_all = False
        self.complete = self._later if mode.name == "async" else self._now

    def _is_full(self):
        gate = self.engine.routing.live._slots._gates[A]
        self.waits_for._has_all |= len(gate.waiting) >= self.waits_for._waiting
        return self.waits_for._has_all

    def _line(self):
        line = self._script[0]
        if isinstance(line, BaseException):
            raise line
        return line

    def _now(self, request):
        self.asked += 1
        while not self._is_full():
            time.sleep(0.001)
        return self._line()

    async def _later(self, request):
        self.asked += 1
        while not self._is_full():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0)
        return self._line()


class Meter:
    """A child that counts how many calls are in it at once."""

    def __init__(self, mode):
        self.now = self.most = 0
        self.complete = self._later if mode.name == "async" else self._now
        self._lock = threading.Lock()

    def _in(self):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def _out(self):
        with self._lock:
            self.now -= 1

    def _now(self, request):
        self._in()
        time.sleep(0.005)
        self._out()
        return _answer()

    async def _later(self, request):
        self._in()
        await asyncio.sleep(0.005)
        self._out()
        return _answer()


def _answer():
    usage = lm15.Usage(input_tokens=1, output_tokens=1)
    message = lm15.Message.assistant("hi")
    return lm15.Response(id="r", model="m", message=message, finish_reason="stop", usage=usage)


class TestOrders:
    def test_the_quickest_comes_first_once_all_are_known(self, mode, make, clock):
        rule = Rule("quickest", use=(Selector(order=Order.LATENCY),))
        stack = make.stack(make.profile("a"), make.profile("b"), rules=(rule,))
        children = {"a": mode.child(lambda _: clock.forward(5) or "from a"), "b": mode.child("from b")}
        engine = mode.router(stack, children, sink=(sink := make.sink()))
        assert [mode.complete(engine, make.ask()).text for _ in range(4)] == ["from a", "from b", "from b", "from b"]
        known = facts_from(sink.lines[-1]).latency_ms
        assert known[A] == pytest.approx(5000, abs=1000)
        assert known[B] < 1000

    def test_who_was_slow_once_is_measured_again_after_a_minute(self, mode, make, clock):
        rule = Rule("quickest", use=(Selector(order=Order.LATENCY),))
        stack = make.stack(make.profile("a"), make.profile("b"), rules=(rule,))
        children = {"a": mode.child(lambda _: clock.forward(5) or "from a", "from a"), "b": mode.child("from b")}
        engine = mode.router(stack, children)
        answers = []
        for seconds in (0, 0, 30, 25, 10, 0):
            clock.forward(seconds)
            answers.append(mode.complete(engine, make.ask()).text)
        assert answers == ["from a", "from b", "from b", "from b", "from a", answers[-1]]
        assert engine.routing.live.frozen()[1].keys() == {A, B}  # the other one, asked meanwhile, is still known
        assert engine.routing.live.frozen()[1][A] < 1000

    def test_the_one_with_fewest_calls_under_way_comes_first(self, mode, make, nesting):
        rule = Rule("idle", use=(Selector(order=Order.LOAD),))
        engine = None
        children = {"a": nesting("a", lambda: engine.complete(make.ask())), "b": mode.child("from b")}
        engine = mode.router(make.stack(make.profile("a"), make.profile("b"), rules=(rule,)), children)
        assert mode.complete(engine, make.ask()).text == "from a"
        assert children["a"].found.text == "from b"


class TestBudgets:
    @pytest.fixture
    def limited(self, mode, make, tmp_path):
        """An engine over a ledger of the test's own: ``limited(Budget(...)) -> engine, sink``."""

        def build(*budgets, ledger=None, answers="answering", **fields):
            stack = make.stack(make.profile("a", **fields), make.profile("b"), policy={"budgets": budgets})
            live = Live(ledger=ledger or Ledger(tmp_path / "budgets.sqlite"))
            children = {name: mode.child(f"from {name}", model=answers) for name in "ab"}  # answers: 3 tokens in, 2 out
            return mode.router(stack, children, sink=(sink := make.sink()), live=live), sink

        return build

    def test_a_budget_that_is_used_up_passes_its_providers_over(self, mode, make, limited):
        engine, sink = limited(Budget("small", Period.RUN, Traits(providers=frozenset("a")), tokens=7))
        assert [mode.complete(engine, make.ask()).text for _ in range(3)] == ["from a", "from a", "from b"]
        assert sink.lines[-1]["considered"][0]["dropped"] == "budget 'small' is used up"
        assert facts_from(sink.lines[-1]).spent == {"small"}

    def test_money_counts_by_the_profiles_prices(self, mode, make, limited):
        budget = Budget("money", Period.RUN, Traits(providers=frozenset("a")), usd=10.0)
        engine, _ = limited(budget, cost=Cost(input_per_mtok=1e6, output_per_mtok=1e6))
        assert [mode.complete(engine, make.ask()).text for _ in range(3)] == ["from a", "from a", "from b"]

    @pytest.mark.parametrize("models", [("gpt-4.1-mini",), ("auto",)])
    def test_money_counts_by_litellms_list_where_the_profile_states_no_price(self, mode, make, limited, models):
        budget = Budget("money", Period.RUN, Traits(providers=frozenset("a")), usd=8e-6)  # an answer costs 4.4e-6
        cloud = {"type": "openai", "endpoint": None, "locality": Locality.CLOUD, "models": models}
        engine, sink = limited(budget, answers="gpt-4.1-mini", **cloud)
        assert [mode.complete(engine, make.ask()).text for _ in range(3)] == ["from a", "from a", "from b"]
        assert [line["cost_usd"] for line in sink.lines if line["kind"] == "call"] == pytest.approx([4.4e-6, 4.4e-6, 0])

    def test_streams_count_too(self, mode, make, limited):
        engine, _ = limited(Budget("small", Period.RUN, Traits(providers=frozenset("a")), tokens=5))
        assert make.text(mode.stream(engine, make.ask())) == "from a"
        assert make.text(mode.stream(engine, make.ask())) == "from b"

    def test_a_days_budget_is_shared_by_processes_a_runs_is_not(self, mode, make, limited, tmp_path):
        for period, other in ((Period.DAY, "from b"), (Period.RUN, "from a")):
            budget = Budget(f"per {period}", period, Traits(providers=frozenset("a")), tokens=5)
            engine, _ = limited(budget)
            assert mode.complete(engine, make.ask()).text == "from a"
            second, _ = limited(budget)
            assert mode.complete(second, make.ask()).text == other

    def test_everybody_used_up_is_an_error_that_names_the_budget(self, mode, make, limited):
        engine, _ = limited(Budget("all", Period.RUN, tokens=1))
        mode.complete(engine, make.ask())
        with pytest.raises(lm15.ConfigurationError, match="budget 'all' is used up"):
            mode.complete(engine, make.ask())


def test_the_facts_are_the_same_object_until_something_changes(mode, make, route):
    engine, _, _ = route(a=("hi", GONE, GONE, "hi"), b="from b")
    live = engine.routing.live
    first = live.facts(time.monotonic())
    for _ in range(3):  # one failure opens nothing
        mode.complete(engine, make.ask())
        assert live.facts(time.monotonic()) is first
    live.learnt.windows[A] = 100
    second = live.facts(time.monotonic())
    assert second is not first
    assert second.windows == {A: 100}
    assert live.facts(time.monotonic()) is second


def test_a_window_that_is_stale_is_no_fact_until_it_is_told_again():
    learnt = Learnt()
    live = Live(learnt)
    for told_at in (100.0, 200.0):
        learnt.note(A, ListedModel("m", context_window=4096), stays=True, until=told_at + 10)
        fresh = live.facts(told_at)
        assert fresh.windows == {A: 4096}
        assert live.facts(told_at + 9) is fresh
        stale = live.facts(told_at + 10)
        assert stale.windows == {}
        assert live.facts(told_at + 11) is stale
    learnt.windows[B] = 7  # nobody says for how long
    assert live.facts(10**9).windows == {B: 7}


class Watch:
    """A monitor, as far as calls are concerned: what they told it."""

    epoch = -1

    def __init__(self):
        self.failures = []
        self.out = {}

    def says(self, **out):
        self.out = out
        self.epoch += 1

    def unusable(self):
        return self.out

    def adopt(self, profiles, settings=None):
        pass

    def failed(self, provider, failure, retry_after_s=None, message="", took_s=0.0):
        self.failures.append((provider, failure, retry_after_s, took_s))

    def answered(self, provider, took_s=0.0):
        pass

    def start(self):
        pass

    def close(self):
        pass


def test_the_watch_is_told_when_a_call_that_failed_began():
    live = Live(health=(watch := Watch()))
    live.failed(A, Failure.TIMEOUT, 107.0, since=100.0, retry_after=None)
    assert watch.failures == [("a", Failure.TIMEOUT, None, 7.0)]


def test_the_watch_is_told_the_pause_that_the_breaker_makes():
    live = Live(health=(watch := Watch()))
    for now in (100.0, 110.0, 120.0):
        live.failed(A, Failure.RATE_LIMIT, now, since=now, retry_after=None)
    live.failed(A, Failure.RATE_LIMIT, 130.0, since=130.0, retry_after=60.0)
    assert [pause_s for _, _, pause_s, _ in watch.failures] == [1.0, 2.0, 4.0, 60.0]


def test_who_is_found_to_be_down_is_passed_over_and_asked_when_nobody_else_is_left(mode, make, route):
    engine, children, sink = route(a="from a", b="from b")
    engine.routing.live.health = watch = Watch()
    watch.says(a="health: down (connection_refused)")
    assert mode.complete(engine, make.ask()).model == "b-model"
    assert sink.lines[-1]["considered"][0]["dropped"] == "health: down (connection_refused)"
    watch.says(a="health: down (timeout)", b="health: down (timeout)")
    assert mode.complete(engine, make.ask()).model == "a-model"
    watch.says()
    assert mode.complete(engine, make.ask()).model == "a-model"
    assert len(children["b"].asked) == 1


def test_who_is_found_to_be_back_may_be_tried_at_once_whatever_the_breaker_says(make):
    live = Live(health=(watch := Watch()))
    live._asked_for = {"a": (A,)}
    for _ in range(STREAK):
        live.failed(A, Failure.TRANSPORT, 100.0, since=100.0, retry_after=None)
    watch.says(a="health: down (connection_refused)")
    assert A in live.facts(101.0).out
    assert live.next_try(A, 101.0) == 130.0
    watch.says()
    assert live.facts(102.0).out == {}
    assert live.admits(A, make.profile("a"), 102.0)


def test_health_and_breaker_agree_on_a_pause():
    now = 100.0
    monitor = Monitor([Profile("a", "openai_compatible")], Health(watch=False), clock=lambda: now)
    live = Live(health=monitor)
    for pause_s in (1.0, 2.0, 4.0, 8.0):
        live.failed(A, Failure.RATE_LIMIT, now, since=now, retry_after=None)
        now += pause_s - 0.1
        assert (monitor.statuses()["a"].state, live.next_try(A, now) > now) == ("throttled", True)
        now += 0.2
        assert (monitor.statuses()["a"].state, live.next_try(A, now) > now) == ("unknown", False)


def test_the_watch_can_see_how_many_calls_are_under_way_and_that_they_ended(mode, make, nesting):
    seen = []
    children = {"a": mode.child("hi"), "b": mode.child(GONE)}
    engine = mode.router(make.stack(make.profile("a"), make.profile("b")), children)
    live = engine.routing.live
    live.health = Watch()
    live._counted()

    def again():
        seen.append((live.health.under_way("a"), live.health.under_way("b")))
        return engine.complete(make.ask())

    children["a"] = nesting("a", again)
    mode.complete(engine, make.ask())
    assert seen == [(1, 0)]
    children["a"] = mode.child(GONE)
    with pytest.raises(lm15.LM15Error):
        mode.complete(engine, make.ask())
    assert (live.health.under_way("a"), live.health.under_way("b")) == (0, 0)


def test_the_sync_and_the_async_engine_learn_together(make):
    lm = lmroute.build(make.stack(make.profile("a")))
    assert lm.engine.routing.live is lm._async_engine_spec.routing.live
