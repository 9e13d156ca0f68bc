"""Turns at models of one LM Studio host: who goes together, who waits for whom, in what order. No threads, no time."""

import sys
import threading
import time
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lmroute.engine.live.hosts import Hosts
from lmroute.engine.live.learnt import Learnt
from lmroute.engine.live.loaded import host_of
from lmroute.engine.live.slots import Slots
from lmroute.engine.live.turns import Turn
from lmroute.model import AUTO, Candidate, Failure, Profile, Timeouts

MODELS = ("tern", "heron", AUTO)
HOST = Profile("lm", "lmstudio", models=MODELS, endpoint="http://127.0.0.1:1234")


class Caller:
    """A call that waits for its turn, and then is in until it ends."""

    def __init__(self, place, model, *, tokens=0, profile=HOST):
        self.model = model
        self.turn = Turn(place.slots, place.learnt, Candidate(profile.id, model), profile, tokens)
        self._waits = self.turn.waits(time.monotonic() + 3600)
        self._pause = next(self._waits, None)

    @property
    def is_in(self):
        while self._pause is not None and self._pause.future.done():
            self._pause = next(self._waits, None)
        return self._pause is None

    def answers(self):
        self.turn.answered()

    def ends(self, failure=None):
        if failure is not None:
            self.turn.failed(failure)
        self.turn.end()


class Place:
    def __init__(self):
        self.slots, self.learnt = Slots(), Learnt(own_hosts=Hosts())

    def call(self, model, **options):
        return Caller(self, model, **options)

    def calls(self, *models):
        return [self.call(model) for model in models]

    @property
    def is_empty(self):
        gates = [*self.slots._gates.values(), *self.learnt.own_hosts.slots._gates.values()]
        return all(not gate.waiting and gate.in_flight == gate.weight == 0 and not gate.streams for gate in gates)


@pytest.fixture
def place():
    return Place()


@pytest.fixture
def warm(place):
    """A place where tern has answered."""
    first = place.call("tern")
    first.answers()
    first.ends()
    return place


def who_is_in(callers):
    return [caller.is_in for caller in callers]


def test_a_loaded_model_is_shared(warm):
    assert who_is_in(warm.calls("tern", "tern", "tern")) == [True] * 3


def test_a_switch_waits_for_all_who_are_answered_and_is_alone_until_it_answers(warm):
    terns = warm.calls("tern", "tern")
    herons = warm.calls("heron", "heron")
    for tern in terns:
        assert who_is_in(herons) == [False, False]
        tern.answers()
        tern.ends()
    assert who_is_in(herons) == [True, False]
    herons[0].answers()  # it may go on to answer for long, but nobody can evict it any more
    assert who_is_in(herons) == [True, True]
    assert warm.call("heron").is_in


def test_whoever_comes_after_a_switch_waits_behind_it(warm):
    """Or an endless stream of calls to the loaded model would starve all others."""
    tern, heron, late = warm.calls("tern", "heron", "tern")
    assert not late.is_in
    tern.ends()
    assert who_is_in([heron, late]) == [True, False]
    heron.answers()
    assert not late.is_in  # tern has been evicted: this is a switch by now
    heron.ends()
    assert late.is_in
    assert not warm.call("tern").is_in  # and it has not answered yet


def test_those_who_waited_for_the_same_model_go_together(place):
    first, *others = place.calls("tern", "tern", "tern", "heron", "tern")
    assert who_is_in(others) == [False] * 4
    first.answers()
    assert who_is_in(others) == [True, True, False, False]


def test_a_switch_that_fails_leaves_nothing_certain(warm):
    heron = warm.call("heron")
    heron.ends(Failure.SERVER)
    tern, again = warm.calls("tern", "tern")
    assert (tern.is_in, again.is_in) == (True, False)  # heron may have evicted it before it failed
    tern.answers()
    assert again.is_in


@pytest.mark.parametrize(("failure", "is_kept"), [(Failure.SERVER, False), (Failure.INVALID_REQUEST, True)])
def test_a_failure_may_show_that_a_model_is_gone(warm, failure, is_kept):
    warm.call("tern").ends(failure)
    assert who_is_in(warm.calls("tern", "tern")) == [True, is_kept]


def test_who_gives_up_lets_those_behind_through(warm):
    _tern, heron, late = warm.calls("tern", "heron", "tern")
    heron.ends()
    assert late.is_in
    assert warm.call("tern").is_in  # and heron has switched nothing


def test_who_was_cancelled_while_it_waited_has_switched_nothing(warm):
    tern, heron = warm.calls("tern", "heron")
    heron._pause.future.cancel()  # as asyncio does with what a task waits for
    heron.ends()
    tern.ends()
    assert who_is_in(warm.calls("tern", "tern")) == [True, True]


def test_who_ends_without_ever_having_been_in_changes_nothing(warm):
    tern, heron, late = warm.calls("tern", "heron", "heron")
    late.ends()
    tern.ends()
    heron.ends()
    tern, again = warm.calls("tern", "tern")
    assert tern.is_in
    assert not again.is_in


def test_auto_is_a_model_of_its_own(warm):
    """Which one it stands for is not known here."""
    tern, auto = warm.calls("tern", AUTO)
    assert not auto.is_in
    tern.ends()
    auto.answers()
    assert who_is_in(warm.calls(AUTO, "tern")) == [True, False]


def test_models_that_stay_neither_wait_nor_are_waited_for(warm):
    warm.learnt.staying.add(Candidate("lm", "heron"))
    tern, heron = warm.calls("tern", "heron")
    assert heron.is_in
    heron.answers()
    assert warm.call("tern").is_in  # heron has evicted nobody
    tern.ends()
    auto = warm.call(AUTO)
    assert not auto.is_in  # because of the other tern, not of heron


def test_a_model_that_stays_and_fails_may_not_have_stayed(warm):
    warm.learnt.staying.add(Candidate("lm", "heron"))
    warm.call("heron").ends(Failure.SERVER)
    assert who_is_in(warm.calls("tern", "heron")) == [True, False]


def test_what_a_host_lists_is_shared_from_the_first_call_on(place):
    place.learnt.hosts.loaded.listed(host_of(HOST), {"tern": True, "heron": True}, since=time.monotonic())
    tern, heron, auto = place.calls("tern", "heron", AUTO)
    assert who_is_in([tern, heron, auto]) == [True, True, False]
    tern.answers()
    heron.answers()
    assert who_is_in([auto]) == [False]


def test_whoever_is_alone_lets_others_in_when_its_model_turns_out_to_be_loaded(place):
    first, second, other = place.calls("tern", "tern", "heron")
    assert who_is_in([first, second, other]) == [True, False, False]
    place.learnt.hosts.loaded.listed(host_of(HOST), {"tern": True, "heron": False}, since=time.monotonic())
    assert who_is_in([first, second, other]) == [True, True, False]
    first.answers()
    first.ends()
    second.ends()
    assert who_is_in([other]) == [True]


def test_a_list_without_its_model_leaves_it_alone(place):
    first, second = place.calls("tern", "tern")
    place.learnt.hosts.loaded.listed(host_of(HOST), {"tern": False, "heron": True}, since=time.monotonic())
    assert who_is_in([first, second]) == [True, False]


def test_hosts_and_servers_of_other_types_do_not_wait_for_each_other(place):
    elsewhere = Profile("far", "lmstudio", models=MODELS, endpoint="http://10.0.0.9:1234")
    other_type = Profile("v", "vllm", models=MODELS, endpoint=HOST.endpoint)
    calls = [place.call("tern"), place.call("heron", profile=elsewhere), place.call("heron", profile=other_type)]
    assert who_is_in(calls) == [True] * 3


def test_two_profiles_of_one_host_wait_for_each_other(place):
    twin = Profile("twin", "lmstudio", models=MODELS, endpoint="http://127.0.0.1:1234/v1")
    tern, heron, same = place.call("tern"), place.call("heron", profile=twin), place.call("tern", profile=twin)
    assert not heron.is_in
    tern.answers()
    heron.ends()
    assert same.is_in


@pytest.mark.parametrize(
    ("parallel", "window", "tokens", "are_in"),
    [
        (4, 1000, [250] * 5, [True] * 4 + [False]),
        (8, 1000, [1] * 5, [True] * 4 + [False]),
        (2, 1000, [1] * 3, [True, True, False]),
        (1, 1000, [1] * 2, [True, False]),
        (4, 1000, [600, 400, 1], [True, True, False]),
        (4, 1000, [600, 401, 1], [True, False, False]),
        (4, 1000, [5000, 1], [True, False]),
        (4, None, [5000] * 5, [True] * 4 + [False]),
        (None, 1000, [5000] * 5, [True] * 5),
    ],
)
def test_learnt_limits_make_calls_wait(warm, parallel, window, tokens, are_in):
    tern = Candidate("lm", "tern")
    warm.learnt.parallel |= {} if parallel is None else {tern: parallel}
    warm.learnt.windows |= {} if window is None else {tern: window}
    callers = [warm.call("tern", tokens=size) for size in tokens]
    assert who_is_in(callers) == are_in
    for caller in callers:  # each in turn, and all of them in the end
        assert caller.is_in
        caller.ends()


def test_a_wait_in_vain_says_for_what(warm):
    tern = Candidate("lm", "tern")
    warm.learnt.parallel[tern], warm.learnt.windows[tern] = 2, 1000
    first = warm.call("tern", tokens=900)
    late = Turn(warm.slots, warm.learnt, tern, HOST, 200).waits(time.monotonic())
    next(late)
    with pytest.raises(
        TimeoutError, match=r"^lm/tern was busy .*\(at most 2 at once, sharing a window of 1000 tokens\)"
    ):
        next(late)
    first.ends()


TIMEOUTS = Timeouts(first_token_s=20, load_s=30)


@pytest.mark.parametrize(
    ("model", "left_s", "has_others", "waits_s"),
    [
        ("heron", 1000, True, 50),  # a load, and a first token
        ("heron", 60, True, 30),  # half of what is left
        ("heron", 1000, False, 1000),
        ("tern", 1000, True, 20),  # no switch is waited for, but a slot
        ("tern", 30, True, 15),
        ("tern", 1000, False, 1000),
    ],
)
def test_a_turn_is_waited_for_as_long_as_it_leaves_others_time(warm, model, left_s, has_others, waits_s):
    warm.learnt.parallel[Candidate("lm", "tern")] = 1
    busy = warm.call("tern")
    profile = Profile("lm", "lmstudio", models=MODELS, endpoint=HOST.endpoint, timeouts=TIMEOUTS)
    now = time.monotonic()
    late = Turn(warm.slots, warm.learnt, Candidate("lm", model), profile)
    waits = late.waits(now + left_s, lambda: has_others)
    assert next(waits).until == pytest.approx(now + waits_s, abs=1)
    message = "for [0-9]+ s, and others can be asked" if has_others else "until the deadline"
    with pytest.raises(TimeoutError, match=rf"was busy {message} \("):
        next(waits)
    late.end()
    busy.ends()
    assert warm.is_empty


@pytest.mark.parametrize("model", ["tern", "heron"])
def test_a_wait_in_vain_for_a_stream_says_so(warm, model):
    warm.learnt.parallel[Candidate("lm", "tern")] = 1
    stream = warm.call("tern")
    stream.turn.answered(streams=True)
    for found in (True, False):
        late = Turn(warm.slots, warm.learnt, Candidate("lm", model), HOST)
        waits = late.waits(time.monotonic())
        next(waits)
        with pytest.raises(TimeoutError) as caught:
            next(waits)
        assert ("a stream that this program has neither read to its end nor closed" in str(caught.value)) is found
        late.end()
        if found:
            stream.ends()
            stream = warm.call("tern")
    stream.ends()
    assert warm.is_empty


class Collector:
    """Garbage that is collected at the n-th line that this room runs, in the same thread: it may be any line."""

    def __init__(self, at, collects):
        self.at, self._collects = at, collects

    def __call__(self, frame, event, _):
        if "/engine/live/" not in frame.f_code.co_filename.replace("\\", "/"):
            return None
        if event == "line":
            self.at -= 1
            if self.at == 0:
                self._collects()
        return self


def collecting(at, collects, job):
    """Do a job while that happens; whether it came so far. In a thread, because it must not hang."""
    collector, failures = Collector(at, collects), []

    def run():
        sys.settrace(collector)
        try:
            job()
        except Exception as error:  # noqa: BLE001 - shown by the thread that waits
            failures.append(error)
        finally:
            sys.settrace(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), f"stuck at line {at}"
    assert not failures, at
    return collector.at <= 0


JOBS = {
    "the call answers": lambda place, call: call.answers(),
    "the call ends": lambda place, call: call.ends(),
    "another one comes": lambda place, call: place.call("heron").ends(),
    "its host lists models": lambda place, call: place.learnt.hosts.loaded.listed(
        host_of(HOST), {"tern": True}, time.monotonic()
    ),
}


@pytest.mark.parametrize(
    ("job", "garbage"),
    [
        *((job, garbage) for job in JOBS for garbage in ("it is in", "it waits")),
        ("its host lists models", "it is the call"),
    ],
)
def test_a_stream_may_be_collected_in_the_middle_of_anything(job, garbage):
    """Abandoned streams are closed when they are collected, in the middle of whatever their thread is doing then."""
    at, came_so_far = 0, True
    while came_so_far:
        at += 1
        place = Place()
        victim = call = place.call("tern")
        if garbage == "it is in":
            victim.answers()
            call = place.call("tern")
        elif garbage == "it waits":
            victim = place.call("tern")
        came_so_far = collecting(at, victim.ends, partial(JOBS[job], place, call))
        victim.ends()
        call.ends()
        assert place.is_empty, at
    assert at > 5


class Host(RuleBasedStateMachine):
    """LM Studio itself, with one model that calls have loaded: whatever calls do, none is evicted while it answers."""

    def __init__(self):
        super().__init__()
        self.place = Place()
        self.waiting, self.asking, self.answering = [], [], []
        self.loaded = None

    def look(self):
        """Whoever is in by now asks at once, and so makes the host load its model."""
        for caller in [caller for caller in self.waiting if caller.is_in]:
            self.waiting.remove(caller)
            self.asking.append(caller)
            busy = [*self.asking, *self.answering]
            if self.loaded != caller.model:
                assert all(other.model == caller.model for other in busy), "a generation was killed"
                self.loaded = caller.model

    @rule(model=st.sampled_from(MODELS))
    def call(self, model):
        self.waiting.append(self.place.call(model))
        self.look()

    @precondition(lambda self: self.asking)
    @rule(data=st.data())
    def answer(self, data):
        caller = data.draw(st.sampled_from(self.asking))
        self.asking.remove(caller)
        self.answering.append(caller)
        caller.answers()
        self.look()

    @precondition(lambda self: self.asking or self.answering)
    @rule(data=st.data(), failure=st.sampled_from([None, None, Failure.SERVER, Failure.CONTEXT_LENGTH]))
    def end(self, data, failure):
        caller = data.draw(st.sampled_from([*self.asking, *self.answering]))
        (self.asking if caller in self.asking else self.answering).remove(caller)
        caller.ends(failure)
        self.look()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data):
        caller = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(caller)
        caller.ends()
        self.look()

    @invariant()
    def somebody_is_in_if_anybody_wants_to_be(self):
        assert self.asking or self.answering or not self.waiting

    def teardown(self):
        while self.asking or self.answering:
            for caller in [*self.asking, *self.answering]:
                caller.ends()
            self.asking, self.answering = [], []
            self.look()
        assert not self.waiting
        assert self.place.is_empty


TestHost = Host.TestCase
TestHost.settings = settings(max_examples=60)
