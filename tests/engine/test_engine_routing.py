"""Whom the engine asks, in which order, and what it says in the end, over children that do what a script says."""

import asyncio
import time

import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st

from lmroute.engine.live import Live
from lmroute.engine.live.learnt import Learnt
from lmroute.engine.routing_engine import AsyncRoutingEngine, RoutingEngine
from lmroute.engine.verdicts import classify
from lmroute.model import AUTO, FALLBACK, Candidate, Capabilities, Failure, Named, Operator, Rule, Selector, Test

ERRORS = {
    Failure.TRANSPORT: lm15.TransportError("gone"),
    Failure.TIMEOUT: lm15.TimeoutError("slow"),
    Failure.RATE_LIMIT: lm15.RateLimitError("busy"),
    Failure.SERVER: lm15.ServerError("broken"),
    Failure.BAD_REPLY: lm15.ProviderError("odd"),
    Failure.AUTH: lm15.AuthError("who?"),
    Failure.BILLING: lm15.BillingError("pay"),
    Failure.NOT_CONFIGURED: lm15.NotConfiguredError("no key"),
    Failure.UNSUPPORTED_MODEL: lm15.UnsupportedModelError("what?"),
    Failure.UNSUPPORTED_FEATURE: lm15.UnsupportedFeatureError("cannot"),
    Failure.CONTEXT_LENGTH: lm15.ContextLengthError("too long"),
    Failure.INVALID_REQUEST: lm15.InvalidRequestError("malformed"),
}


def trace(response):
    return response.provider_data["lmroute"]


def test_the_first_candidate_answers_and_nobody_else_is_asked(mode, make, route):
    engine, children, sink = route(a="from a", b="from b")
    response = mode.complete(engine, make.ask())
    assert (response.text, response.model) == ("from a", "a-model")
    assert [request.model for request in children["a"].asked] == ["m"]
    assert not children["b"].asked
    assert sink.kinds() == ["attempt", "call"]


@pytest.mark.parametrize("failure", ERRORS)
def test_which_failures_fall_back(mode, make, route, failure):
    engine, children, sink = route(a=ERRORS[failure], b="from b")
    if failure in FALLBACK:
        response = mode.complete(engine, make.ask())
        assert response.text == "from b"
        assert sink.kinds() == ["attempt", "attempt", "call"]
        assert sink.lines[0]["errorCode"] == failure.value
    else:
        with pytest.raises(lm15.InvalidRequestError) as caught:
            mode.complete(engine, make.ask())
        assert caught.value is ERRORS[failure]
        assert not children["b"].asked


@pytest.mark.parametrize("failure", ERRORS)
def test_a_rules_own_fallback_on_decides(mode, make, route, failure):
    for allowed in (frozenset({failure}), frozenset(Failure) - {failure}):
        stack = make.stack(make.profile("a"), make.profile("b"), fallback_on=allowed)
        engine, _, _ = route(stack, a=ERRORS[failure], b="from b")
        if failure in allowed:
            assert mode.complete(engine, make.ask()).text == "from b"
        else:
            with pytest.raises(type(ERRORS[failure])) as caught:
                mode.complete(engine, make.ask())
            assert caught.value is ERRORS[failure]


def test_when_all_fail_the_error_names_them_all(mode, make, route):
    engine, _, sink = route(a=ERRORS[Failure.TRANSPORT], b=ERRORS[Failure.RATE_LIMIT])
    with pytest.raises(lm15.RateLimitError, match=r"a/m: transport \(gone\); b/m: rate_limit \(busy\)"):
        mode.complete(engine, make.ask())
    assert sink.kinds() == ["attempt", "attempt", "call"]
    assert sink.lines[-1]["status"] == "error"
    assert sink.lines[-1]["errorCode"] == "rate_limit"


def test_a_malformed_request_after_a_failure_ends_it_with_both_named(mode, make, route):
    engine, children, _ = route(a=ERRORS[Failure.TRANSPORT], b=ERRORS[Failure.INVALID_REQUEST], c="from c")
    with pytest.raises(lm15.InvalidRequestError, match=r"gone.*malformed"):
        mode.complete(engine, make.ask())
    assert not children["c"].asked


@pytest.mark.parametrize(
    "error", [KeyError("a bug"), ZeroDivisionError(), asyncio.CancelledError(), KeyboardInterrupt()]
)
def test_what_is_no_failure_of_a_provider_passes_untouched(mode, make, route, error):
    engine, children, _ = route(a=error, b="from b")
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any of them, the very object
        mode.complete(engine, make.ask())
    assert caught.value is error or (
        mode.name == "async" and isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
    )
    assert not children["b"].asked


def test_a_real_cancellation_reaches_the_child_and_nobody_else_is_asked(make):
    stack = make.stack(make.profile("a"), make.profile("b"))

    class Slow:
        cancelled = False

        async def complete(self, request):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                Slow.cancelled = True
                raise

    engine = AsyncRoutingEngine(stack, {"a": Slow(), "b": None})

    async def main():
        task = asyncio.create_task(engine.complete(make.ask()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert Slow.cancelled


OVERFLOW = ERRORS[Failure.CONTEXT_LENGTH]


@pytest.mark.parametrize(
    ("windows", "asked"),
    [
        ((100, 100, 200), "ac"),
        ((100, 50, None), "ac"),
        ((None, 100, None), "abc"),
        ((200, 100, 50), "a"),
        ((100, 200, 150), "ab"),
    ],
)
def test_an_overflow_goes_only_to_what_may_be_larger(mode, make, route, windows, asked):
    profiles = [make.profile(name, context_window=window) for name, window in zip("abc", windows, strict=True)]
    engine, children, _ = route(make.stack(*profiles), a=OVERFLOW, b=OVERFLOW, c=OVERFLOW)
    with pytest.raises(lm15.ContextLengthError):
        mode.complete(engine, make.ask())
    assert "".join(name for name, child in children.items() if child.asked) == asked


def test_an_overflow_anywhere_is_what_the_caller_learns(mode, make, route):
    engine, _, _ = route(a=OVERFLOW, b=ERRORS[Failure.TRANSPORT])
    with pytest.raises(lm15.ContextLengthError, match="gone"):
        mode.complete(engine, make.ask())


def test_windows_that_children_learned_beat_the_profiles(mode, make):
    stack = make.stack(make.profile("a", models=(AUTO,)), make.profile("b", context_window=20))
    learned = {Candidate("a", AUTO): 10}
    engine = mode.router(stack, {"a": mode.child("from a"), "b": mode.child("from b")}, live=Live(Learnt(learned)))
    request = make.ask("x" * 60)
    assert mode.complete(engine, request).text == "from b"
    learned[Candidate("a", AUTO)] = 4096
    assert mode.complete(engine, request).text == "from a"


def test_a_prompt_that_fits_nowhere_is_an_overflow_without_a_single_call(mode, make, route):
    engine, children, sink = route(make.stack(make.profile("a", context_window=10)), a="hi")
    with pytest.raises(lm15.ContextLengthError, match=r"rule everybody.*a/m: context window too small"):
        mode.complete(engine, make.ask("x" * 400))
    assert not children["a"].asked
    assert [(line["kind"], line["errorCode"]) for line in sink.lines] == [("call", "no_candidate")]


def test_no_rule_matches(mode, make, route):
    never = Rule("never", use=(Selector(),), when=Test("task", Operator.EQ, "another"))
    engine, _, sink = route(make.stack(make.profile("a"), rules=(never,)), a="hi")
    with pytest.raises(lm15.ConfigurationError, match="no rule matches"):
        mode.complete(engine, make.ask())
    assert sink.lines[-1]["errorCode"] == "no_candidate"


def test_no_candidate_is_eligible(mode, make, route):
    profiles = make.profile("a", enabled=False), make.profile("b", capabilities=Capabilities())
    engine, _, _ = route(make.stack(*profiles), a="hi", b="hi")
    tool = lm15.FunctionTool("f", "does it", {"type": "object", "properties": {}})
    with pytest.raises(lm15.ConfigurationError, match=r"a/m: disabled; b/m: cannot call tools"):
        mode.complete(engine, make.ask(tools=(tool,)))


def test_a_refusal_for_a_capability_says_what_to_write(mode, make, route):
    engine, _, _ = route(make.stack(make.profile("a", capabilities=Capabilities())), a="hi")
    effort = lm15.Reasoning(effort="low")
    with pytest.raises(
        lm15.ConfigurationError, match=r"cannot reason.* \+\+providers\.a\.capabilities\.reasoning=true$"
    ):
        mode.complete(engine, make.ask(reasoning=effort))


def test_a_rule_that_names_nobody_says_so(mode, make, route):
    engine, _, _ = route(make.stack(make.profile("a"), rules=(Rule("odd", use=(Named("b"),)),)), a="hi")
    with pytest.raises(lm15.ConfigurationError, match="none of the selected providers"):
        mode.complete(engine, make.ask())


def test_the_policys_deadline_counts_over_all_attempts(mode, make, server):
    """Three servers that never answer and would get 5 s each; the policy gives 0.6 s to all of them."""
    server.answers([server.pause(30)])
    profiles = [server.profile(id=name, total_s=5) for name in "abc"]
    engine = mode.router(
        make.stack(*profiles, deadline_s=0.6), {p.id: mode.provider(p) for p in profiles}, sink=(sink := make.sink())
    )
    started = time.monotonic()
    with pytest.raises(lm15.TimeoutError):
        mode.complete(engine, make.ask())
    assert time.monotonic() - started < 5
    assert sink.kinds() == ["attempt", "call"]
    assert server.settles_at(0)


def test_after_the_deadline_nobody_else_is_tried(mode, make, route):
    def slowly_gone(request):
        time.sleep(0.1)
        return lm15.TransportError("gone")

    stack = make.stack(make.profile("a"), make.profile("b"), deadline_s=0.05)
    engine, children, _ = route(stack, a=slowly_gone, b="from b")
    with pytest.raises(lm15.TransportError, match="gone"):
        mode.complete(engine, make.ask())
    assert not children["b"].asked


def test_an_attempts_own_total_is_shorter_than_the_policys_deadline(mode, make, server):
    server.answers([server.pause(30)], server.http(server.chat("second")))
    profiles = server.profile(id="a", total_s=0.2), server.profile(id="b")
    engine = mode.router(make.stack(*profiles), {p.id: mode.provider(p) for p in profiles})
    response = mode.complete(engine, make.ask())
    assert response.text == "second"
    assert [a["errorCode"] for a in trace(response)["attempts"]] == ["timeout", None]


OUTCOMES = st.sampled_from(["ok", *ERRORS])


@given(
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=6), fallback_on=st.none() | st.frozensets(st.sampled_from(Failure))
)
def test_candidates_are_tried_in_order_until_one_answers(make, outcomes, fallback_on):
    names = [f"p{i}" for i in range(len(outcomes))]
    order = []

    class Child:
        def __init__(self, name, outcome):
            self.name, self.outcome = name, outcome

        def complete(self, request):
            order.append(self.name)
            if self.outcome == "ok":
                return make.answer(model=self.name)
            raise ERRORS[self.outcome]

    stack = make.stack(*map(make.profile, names), fallback_on=fallback_on)
    sink = make.sink()
    engine = RoutingEngine(stack, dict(zip(names, map(Child, names, outcomes), strict=True)), sink=sink)
    allowed = FALLBACK if fallback_on is None else fallback_on
    ends = next((i for i, o in enumerate(outcomes) if o == "ok" or o not in allowed), len(outcomes) - 1)
    try:
        response = engine.complete(make.ask())
    except lm15.LM15Error as error:
        assert outcomes[ends] != "ok"
        overflowed = Failure.CONTEXT_LENGTH in outcomes[: ends + 1]
        assert classify(error) is (Failure.CONTEXT_LENGTH if overflowed else outcomes[ends])  # noqa: PT017
    else:
        assert outcomes[ends] == "ok"
        assert response.model == names[ends]
        assert len(trace(response)["attempts"]) == ends + 1
    assert order == names[: ends + 1]
    assert sink.kinds() == ["attempt"] * (ends + 1) + ["call"]
