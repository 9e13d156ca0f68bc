"""One choice for a whole run: by a rule that says so, or inside of ``lmroute.pin``."""

import dspy
import pytest
from dspy import lm15

import lmroute
from lmroute.model import CallerChoice, Candidate, Named, Operator, Rule, Selector, Test
from lmroute.telemetry.recorded import facts_from

GONE = lm15.TransportError("gone")
EVERYBODY = (Selector(),)


def pinning(make, *, pin=True, **fields):
    return make.stack(make.profile("a"), make.profile("b"), rules=(Rule("r", EVERYBODY, pin=pin),), **fields)


def test_who_answers_first_answers_all_and_failures_move_nothing(mode, make, route):
    engine, children, sink = route(pinning(make), a=(GONE, "from a"), b=("from b", "from b", GONE, "from b"))
    assert [mode.complete(engine, make.ask()).text for _ in range(2)] == ["from b", "from b"]
    with pytest.raises(lm15.TransportError, match="gone"):
        mode.complete(engine, make.ask())
    assert mode.complete(engine, make.ask()).text == "from b"
    assert len(children["a"].asked) == 1
    call = sink.lines[-1]
    assert call["considered"][0] == {"candidate": "a/m", "dropped": "this run is pinned to b/m"}
    assert facts_from(call).pins == {"r": Candidate("b", "m")}
    assert facts_from(sink.lines[2]).pins == {}


def test_a_pinned_candidate_is_asked_though_its_breaker_is_open(mode, make, route):
    engine, children, _ = route(pinning(make), a=("from a", *[GONE] * 7, "from a"), b="from b")
    mode.complete(engine, make.ask())
    for _ in range(7):
        with pytest.raises(lm15.TransportError):
            mode.complete(engine, make.ask())
    assert mode.complete(engine, make.ask()).text == "from a"
    assert not children["b"].asked


def test_a_pinned_candidate_that_may_not_be_asked_is_not_replaced(mode, make, route):
    stack = make.stack(make.profile("a", context_window=50), make.profile("b"), rules=(Rule("r", EVERYBODY, pin=True),))
    engine, children, _ = route(stack, a="from a", b="from b")
    mode.complete(engine, make.ask())
    with pytest.raises(lm15.ContextLengthError, match="b/m: this run is pinned to a/m"):
        mode.complete(engine, make.ask("x" * 4000))
    assert not children["b"].asked


def test_many_calls_at_once_end_up_on_one_candidate(mode, make, route, at_once):
    engine, children, sink = route(pinning(make), a=(GONE, "from a"), b="from b")
    assert {answer.text for answer in at_once(engine, make.ask(), 16)} == {"from b"}
    assert (len(children["a"].asked), len(children["b"].asked)) == (1, 16)
    assert sum(line["kind"] == "call" for line in sink.lines) == 16


def test_while_nobody_has_answered_each_call_tries_for_itself(mode, make, route, at_once):
    engine, children, _ = route(pinning(make), a=GONE, b=(*[GONE] * 3, "from b"))
    answers = at_once(engine, make.ask(), 8)
    assert sum(isinstance(answer, lm15.TransportError) for answer in answers) == 3
    assert len(children["b"].asked) == 8
    assert mode.complete(engine, make.ask()).text == "from b"


def test_a_first_call_that_ends_by_a_bug_leaves_nobody_waiting(mode, make, route):
    engine, _, _ = route(pinning(make, deadline_s=5), a=(KeyError("bug"), "from a"), b="from b")
    with pytest.raises(KeyError):
        mode.complete(engine, make.ask())
    assert mode.complete(engine, make.ask()).text == "from a"


def test_a_stream_binds_with_its_first_token(mode, make, route):
    engine, children, _ = route(pinning(make, deadline_s=5), a=(GONE, "from a"), b="from b")
    assert len(mode.stream(engine, make.ask(), stop_after=1)) == 1
    assert mode.complete(engine, make.ask()).text == "from b"
    assert len(children["a"].asked) == 1


def test_a_first_call_that_is_not_over_by_the_deadline_of_another(mode, make, nesting):
    engine = None
    child = nesting("a", lambda: engine.complete(make.ask()))
    engine = mode.router(
        pinning(make, deadline_s=0.2), {"a": child, "b": mode.child("from b")}, sink=(sink := make.sink())
    )
    assert mode.complete(engine, make.ask()).text == "from a"
    assert isinstance(child.found, lm15.TimeoutError)
    assert "rule r: the first call of this pinned rule was still under way" in str(child.found)
    assert sink.lines[0]["kind"] == "call"


def test_rules_are_bound_one_by_one(mode, make, route):
    rules = (Rule("tagged", EVERYBODY, Test("tags", Operator.CONTAINS, "x"), pin=True), Rule("rest", EVERYBODY))
    stack = make.stack(make.profile("a"), make.profile("b"), rules=rules)
    engine, _, _ = route(stack, a=(GONE, "from a"), b="from b")
    with lmroute.task(tags="x"):
        assert mode.complete(engine, make.ask()).text == "from b"
    assert mode.complete(engine, make.ask()).text == "from a"
    with lmroute.task(tags="x"):
        assert mode.complete(engine, make.ask()).text == "from b"


class TestPinnedRun:
    def test_it_binds_every_rule_inside_and_forgets_at_its_end(self, mode, make, route):
        engine, _, sink = route(pinning(make, pin=False), a=(GONE, "from a"), b="from b")
        with lmroute.pin():
            assert [mode.complete(engine, make.ask()).text for _ in range(3)] == ["from b"] * 3
            with lmroute.task("inner"), lmroute.pin():
                assert mode.complete(engine, make.ask()).text == "from b"
        assert facts_from(sink.lines[-1]).pins == {"r": Candidate("b", "m")}
        assert mode.complete(engine, make.ask()).text == "from a"
        with lmroute.pin():
            assert mode.complete(engine, make.ask()).text == "from a"

    def test_two_lms_do_not_share_their_choice(self, mode, make, route):
        first, _, _ = route(pinning(make, pin=False), a=(GONE, "from a"), b="from b")
        second, _, _ = route(pinning(make, pin=False), a="from a", b="from b")
        with lmroute.pin():
            assert mode.complete(first, make.ask()).text == "from b"
            assert mode.complete(second, make.ask()).text == "from a"
            assert mode.complete(first, make.ask()).text == "from b"

    def test_a_callers_own_choice_is_no_rules(self, mode, make, route):
        policy = {"caller_choice": CallerChoice((Named("a"), Named("b")))}
        engine, _, _ = route(pinning(make, pin=False, policy=policy), a="from a", b="from b")
        with lmroute.pin():
            for name in "ab":
                with lmroute.task(use=name):
                    assert mode.complete(engine, make.ask()).text == f"from {name}"

    def test_callers_who_choose_do_not_wait_for_each_other(self, mode, make, nesting):
        engine = None
        policy = {"caller_choice": CallerChoice((Named("a"), Named("b")))}

        def other():
            hints = {"metadata": {"lmroute": {"use": "b"}}}
            return engine.complete(make.ask(extensions=hints))

        children = {"a": (child := nesting("a", other)), "b": mode.child("from b")}
        engine = mode.router(pinning(make, pin=False, policy=policy, deadline_s=0.3), children)
        with lmroute.pin(), lmroute.task(use="a"):
            assert mode.complete(engine, make.ask()).text == "from a"
        assert child.found.text == "from b"

    def test_threads_inherit_it(self, mode, make, route, at_once):
        engine, children, _ = route(pinning(make, pin=False), a=(GONE, "from a"), b="from b")
        with lmroute.pin():
            assert {answer.text for answer in at_once(engine, make.ask(), 16)} == {"from b"}
        assert len(children["a"].asked) == 1

    def test_so_do_those_of_dspy(self, make):
        """Sixteen threads of ``dspy.Parallel`` over a first provider that fails once."""
        replies = iter([GONE])
        lm = dspy.LM("lmroute/test", engine=self.engine(make, replies), num_retries=0, cache=False)
        predict = dspy.Predict("question -> answer")
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter()), lmroute.pin():
            pairs = [(predict, {"question": str(number)}) for number in range(32)]
            answers = dspy.Parallel(num_threads=16, disable_progress_bar=True)(pairs)
        assert {answer.answer for answer in answers} == {"b"}

    @staticmethod
    def engine(make, replies):
        class Child:
            def __init__(self, name):
                self.name = name

            def complete(self, request):
                if self.name == "a" and (error := next(replies, None)):
                    raise error
                return make.answer(f"[[ ## answer ## ]]\n{self.name}\n\n[[ ## completed ## ]]")

        return lmroute.RoutingEngine(pinning(make, pin=False), {name: Child(name) for name in "ab"})
