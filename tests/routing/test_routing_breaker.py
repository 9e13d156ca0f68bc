"""Breakers: when they open, whom they let through, and what they make of outcomes that come late."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lmroute.model import Failure
from lmroute.routing.breaker import LONGEST_RETRY_AFTER_S, PROBE_FAILED, PROBING, THROTTLED, Breaker

AGAINST_THE_SERVER = [
    Failure.TRANSPORT,
    Failure.TIMEOUT,
    Failure.SERVER,
    Failure.BAD_REPLY,
    Failure.UNAVAILABLE,
    Failure.AUTH,
    Failure.BILLING,
    Failure.NOT_CONFIGURED,
    Failure.UNSUPPORTED_MODEL,
    Failure.MODEL_SUBSTITUTED,
]
ABOUT_THE_REQUEST = [Failure.INVALID_REQUEST, Failure.CONTEXT_LENGTH, Failure.UNSUPPORTED_FEATURE, Failure.GUARANTEE]


def fail(breaker, now, times=1, failure=Failure.SERVER):
    for _ in range(times):
        breaker.failed(failure, now, since=now)


def opened(at=0.0, **known):
    breaker = Breaker(**known)
    fail(breaker, at, 5)
    return breaker


def test_every_failure_is_classified():
    assert {*AGAINST_THE_SERVER, *ABOUT_THE_REQUEST, Failure.RATE_LIMIT} == set(Failure)


@pytest.mark.parametrize("failure", AGAINST_THE_SERVER)
def test_five_in_a_row_open_it(failure):
    breaker = Breaker()
    fail(breaker, 1, 4, failure)
    assert breaker.is_open(1) == ""
    assert breaker.admit(1)
    fail(breaker, 1, 1, failure)
    assert breaker.is_open(1) == "breaker open after 5 failures in a row"
    assert not breaker.admit(1)
    assert breaker.next_try(1) == 31


@pytest.mark.parametrize("failure", ABOUT_THE_REQUEST)
def test_what_tells_of_the_request_is_neither_failure_nor_success(failure):
    breaker = Breaker()
    fail(breaker, 1, 4)
    fail(breaker, 1, 100, failure)
    assert breaker.is_open(1) == ""
    fail(breaker, 1)
    assert breaker.is_open(1)


def test_a_success_ends_the_row():
    breaker = Breaker()
    for now in range(3):
        fail(breaker, now, 4)
        breaker.succeeded(now, since=now)
    assert breaker.is_open(3) == ""


@pytest.mark.parametrize(("failures", "reason"), [(9, ""), (10, "breaker open, 10 of the last 20 calls failed")])
def test_half_of_the_last_twenty_open_it(failures, reason):
    breaker = Breaker()
    for _ in range(100):
        breaker.succeeded(0, since=0)
    for n in range(18):
        if n % 2:
            breaker.succeeded(0, since=0)
        else:
            fail(breaker, 0)
    fail(breaker, 0, failures - 9)
    assert breaker.is_open(0) == reason


def test_half_of_fewer_than_twenty_do_not():
    breaker = Breaker()
    for _ in range(9):
        fail(breaker, 0)
        breaker.succeeded(0, since=0)
    assert breaker.is_open(0) == ""
    fail(breaker, 0)
    assert breaker.is_open(0) == ""  # ten of nineteen
    fail(breaker, 0)
    assert breaker.is_open(0) == "breaker open, 11 of the last 20 calls failed"


def test_one_probe_at_a_time():
    breaker = opened(at=0)
    assert not breaker.admit(29.9)
    assert breaker.is_open(30) == ""
    assert breaker.admit(30)
    assert not breaker.admit(30)
    assert breaker.is_open(31) == PROBING
    breaker.succeeded(31, since=30)
    assert breaker.is_open(31) == ""
    assert breaker.admit(31)
    assert breaker.admit(31)


def test_a_probe_is_given_to_one_of_many_threads(monkeypatch):
    breaker, start, admitted, real = opened(at=0), threading.Barrier(4), [], Breaker.next_try

    def slowly(*args):
        when = real(*args)
        time.sleep(0.02)  # so that the others come along meanwhile
        return when

    def ask():
        start.wait()
        admitted.append(breaker.admit(30))

    monkeypatch.setattr(Breaker, "next_try", slowly)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(admitted) == [False, False, False, True]


def test_what_it_was_opened_for_is_forgotten_when_it_closes():
    breaker = Breaker()
    for n in range(21):
        if n % 2:
            breaker.succeeded(0, since=0)
        else:
            fail(breaker, 0)
    assert breaker.is_open(0)
    assert breaker.admit(30)
    breaker.succeeded(31, since=30)
    fail(breaker, 32, 4)
    assert breaker.is_open(32) == ""


def test_each_failed_probe_doubles_the_pause_up_to_five_minutes_and_success_starts_anew():
    breaker, now, pauses = opened(at=0), 0, []
    for _ in range(2000):  # long enough to overflow a naive power of two
        pauses.append(breaker.next_try(now) - now)
        now = breaker.next_try(now)
        assert breaker.admit(now)
        fail(breaker, now)
        assert breaker.is_open(now) == PROBE_FAILED
    assert pauses[:6] == [30, 60, 120, 240, 300, 300]
    assert set(pauses[6:]) == {300}
    now = breaker.next_try(now)
    assert breaker.admit(now)
    breaker.succeeded(now, since=now)
    fail(breaker, now, 5)
    assert breaker.next_try(now) == now + 30


def test_a_probe_that_never_reports_back_makes_room_for_another():
    breaker = opened(at=0, probe_lease_s=10)
    assert breaker.admit(30)
    assert breaker.next_try(30) == 40
    assert not breaker.admit(39.9)
    assert breaker.admit(40)
    assert not breaker.admit(40)
    breaker.failed(Failure.TIMEOUT, 42, since=30)  # the first one after all; the second one is asked now
    assert breaker.is_open(42) == PROBING
    breaker.succeeded(43, since=40)
    assert breaker.is_open(43) == ""


@pytest.mark.parametrize("failure", ABOUT_THE_REQUEST)
def test_a_probe_that_told_nothing_makes_room_for_another_at_once(failure):
    breaker = opened(at=0)
    assert breaker.admit(30)
    breaker.failed(failure, 31, since=30)
    assert breaker.admit(31)
    assert not breaker.admit(31)


def test_a_cancelled_probe_makes_room_and_any_other_cancelled_call_does_not():
    breaker = opened(at=0)
    assert breaker.admit(30)
    breaker.cancelled(since=-5)
    assert not breaker.admit(31)
    breaker.cancelled(since=30)
    assert breaker.admit(31)


def test_a_cancelled_call_does_not_shorten_the_pause():
    breaker = opened(at=0)
    breaker.cancelled(since=0)
    breaker.cancelled(since=5)
    assert breaker.next_try(5) == 30


def test_late_outcomes_of_calls_from_before_are_no_news():
    breaker = opened(at=10)
    breaker.succeeded(11, since=3)
    assert breaker.is_open(11)
    breaker.failed(Failure.TIMEOUT, 39, since=3)
    assert breaker.next_try(39) == 40
    assert breaker.admit(40)
    breaker.failed(Failure.TIMEOUT, 41, since=3)
    assert breaker.is_open(41) == PROBING
    breaker.succeeded(42, since=40)
    for _ in range(16):
        breaker.failed(Failure.TIMEOUT, 43, since=3)
    assert breaker.is_open(43) == ""


def test_in_panic_mode_success_closes_and_failure_changes_nothing():
    breaker = opened(at=0)
    fail(breaker, 5, 20)
    assert breaker.next_try(5) == 30
    breaker.succeeded(7, since=6)
    assert breaker.is_open(7) == ""
    fail(breaker, 8, 4)
    assert breaker.is_open(8) == ""


@given(asked=st.floats(allow_nan=True, allow_infinity=True))
def test_retry_after_is_obeyed_within_an_hour(asked):
    breaker = Breaker()
    breaker.failed(Failure.RATE_LIMIT, 100, since=99, retry_after=asked)
    pause = min(asked, LONGEST_RETRY_AFTER_S) if asked > 0 else 1
    assert breaker.next_try(100) == 100 + pause
    if pause > 0.001:
        assert breaker.is_open(100) == THROTTLED
        assert not breaker.admit(100)
    assert breaker.admit(100 + pause)


def test_without_a_hint_the_pause_doubles_and_success_starts_anew():
    breaker, now, pauses = Breaker(), 0.0, []
    for _ in range(1500):
        breaker.failed(Failure.RATE_LIMIT, now, since=now)
        pauses.append(breaker.next_try(now) - now)
        now = breaker.next_try(now)
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == 300
    breaker.succeeded(now, since=now)
    breaker.failed(Failure.RATE_LIMIT, now, since=now)
    assert breaker.next_try(now) == now + 1


def test_many_calls_that_are_refused_at_once_are_one_throttling():
    breaker = Breaker()
    for n in range(16):
        breaker.failed(Failure.RATE_LIMIT, 10 + n / 1000, since=9)
    assert breaker.next_try(10) == 11
    breaker.succeeded(10.5, since=9)  # was under way already: no sign that the throttling is over
    breaker.failed(Failure.RATE_LIMIT, 11, since=11)
    assert breaker.next_try(11) == 13


def test_a_shorter_hint_does_not_shorten_a_pause():
    breaker = Breaker()
    breaker.failed(Failure.RATE_LIMIT, 0, since=0, retry_after=60)
    breaker.failed(Failure.RATE_LIMIT, 1, since=0, retry_after=2)
    assert breaker.next_try(1) == 60


def test_throttling_never_opens_the_breaker_nor_interrupts_the_row():
    breaker = Breaker()
    fail(breaker, 0, 4)
    for now in range(0, 10_000, 500):
        breaker.failed(Failure.RATE_LIMIT, now, since=now, retry_after=1)
    assert breaker.is_open(10_000) == ""
    fail(breaker, 10_000)
    assert breaker.is_open(10_000) == "breaker open after 5 failures in a row"


def test_a_throttled_probe_is_followed_by_another_when_the_throttling_is_over():
    breaker = opened(at=0)
    assert breaker.admit(30)
    breaker.failed(Failure.RATE_LIMIT, 31, since=30, retry_after=20)
    assert breaker.is_open(50) == THROTTLED
    assert breaker.admit(51)
    assert not breaker.admit(51)


class Calls(RuleBasedStateMachine):
    """Calls begin when they are admitted, end in any order or never; time goes on. Whatever happens, these hold."""

    LEASE = 50

    def __init__(self):
        super().__init__()
        self.breaker = Breaker(probe_lease_s=self.LEASE)
        self.now = 0
        self.under_way = []
        self.row = 0  # failures in a row of calls that began since the breaker was closed last
        self.was_open = False
        self.probe = None  # (since, ends) of the probe under way
        self.closed_at = -1

    @rule(seconds=st.sampled_from([1, 7, 29, 30, 60, 300]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def begin(self):
        allowed = not self.breaker.is_open(self.now)
        assert self.breaker.admit(self.now) == allowed
        if not allowed:
            return
        self.now += 1  # so that a start tells calls apart
        self.under_way.append(self.now - 1)
        if self.was_open:
            assert self.probe is None or self.now > self.probe[1]
            self.probe = (self.now - 1, self.now - 1 + self.LEASE)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), failure=st.sampled_from([None, Failure.SERVER, Failure.SERVER, Failure.INVALID_REQUEST]))
    def end(self, data, failure):
        since = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        if failure is None:
            self.breaker.succeeded(self.now, since=since)
        else:
            self.breaker.failed(failure, self.now, since=since)
        is_probe = self.probe is not None and since == self.probe[0]
        if not self.was_open and since >= self.closed_at:
            self.row = 0 if failure is None else self.row + (failure is Failure.SERVER)
            self.was_open = bool(self.breaker.is_open(self.now))
            assert self.was_open or self.row < 5
        elif is_probe:
            self.probe = None
            if failure is None:
                self.was_open, self.row, self.closed_at = False, 0, self.now
                assert self.breaker.is_open(self.now) == ""
            elif failure is Failure.SERVER:
                assert self.breaker.next_try(self.now) >= self.now + 60

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def cancel(self, data):
        since = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        before = self.breaker.next_try(self.now)
        self.breaker.cancelled(since)
        if self.probe is not None and since == self.probe[0]:
            self.probe = None
            assert self.breaker.next_try(self.now) == self.now
        else:
            assert self.breaker.next_try(self.now) == before

    @invariant()
    def a_closed_breaker_lets_everybody_in(self):
        assert self.was_open or not self.breaker.is_open(self.now)

    @invariant()
    def while_a_probe_is_under_way_nobody_else_gets_in(self):
        if self.probe is not None and self.now < self.probe[1]:
            assert self.breaker.is_open(self.now) == PROBING

    @invariant()
    def what_is_refused_is_refused_until_its_next_try_and_no_longer(self):
        when = self.breaker.next_try(self.now)
        assert bool(self.breaker.is_open(self.now)) == (when > self.now)
        assert self.breaker.is_open(when) == ""
        if when > self.now:
            assert self.breaker.is_open(when - 0.5) == self.breaker.is_open(self.now)
            assert when <= self.now + 300


TestCalls = Calls.TestCase
