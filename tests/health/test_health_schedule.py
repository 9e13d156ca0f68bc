"""Whom to probe, and when: whatever the clock does, whatever the servers do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lmroute.health.schedule import AGAIN_S, AT_ONCE, BACK_OFF, FEW, FIRST_S, JITTER, LATE_S, Schedule

INTERVAL_S = 15.0


def schedule(*near, far=(), chance=lambda: 0.5):
    made = Schedule(INTERVAL_S, chance=chance)
    made.adopt({**dict.fromkeys(near, False), **dict.fromkeys(far, True)}, 0.0)
    return made


def next_of(made, now, *, sick=False, in_doubt=False, heard=None):
    """Probe whoever is due, for no time at all; when the next one is."""
    for name in made.due(now, heard or {}):
        made.ended(name, now, sick=sick, in_doubt=in_doubt)
    return made.next_at()


class Clockwork(RuleBasedStateMachine):
    """Whatever happens, there is one probe at a time of each, and a jump brings one of each at most."""

    names = st.sampled_from("abcdefgh")

    @initialize(data=st.data(), names=st.sets(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=1))
    def begin(self, data, names):
        self.chance = data
        self.now = 0.0
        self.under_way = set()
        self.schedule = Schedule(INTERVAL_S, chance=lambda: data.draw(st.floats(0, 1)))
        self.profiles = dict.fromkeys(sorted(names), False)
        self.schedule.adopt(self.profiles, 0.0)

    def look(self):
        chosen = self.schedule.due(self.now, {})
        assert not self.under_way & set(chosen)
        assert len(chosen) == len(set(chosen))
        self.under_way |= set(chosen)
        return chosen

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds):
        self.now += seconds
        self.look()

    @rule(seconds=st.floats(60, 1e9), again=st.lists(st.floats(0, 0.2), max_size=20))
    def time_jumps(self, seconds, again):
        before = len(self.under_way)
        self.now += 4 * INTERVAL_S * (1 + JITTER) + LATE_S + seconds
        begun = self.look()
        for later in again:
            self.now += later
            begun += self.look()
        assert len(begun) == len(set(begun))
        assert len(self.under_way) <= max(before, FEW)

    @rule(names=st.sets(names), change=st.sets(names))
    def another_configuration(self, names, change):
        self.profiles = dict.fromkeys(sorted(names), True)
        self.schedule.adopt(self.profiles, self.now, change & names)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), sick=st.booleans(), in_doubt=st.booleans())
    def a_probe_ends(self, data, sick, in_doubt):
        name = data.draw(st.sampled_from(sorted(self.under_way)))
        self.under_way.remove(name)
        self.schedule.ended(name, self.now, sick=sick, in_doubt=in_doubt)

    @rule(name=names)
    def a_call_fails(self, name):
        self.schedule.soon(name, self.now)

    @invariant()
    def nobody_is_forgotten(self):
        if not hasattr(self, "schedule"):
            return
        assert len(self.under_way) <= AT_ONCE
        idle = self.profiles.keys() - self.under_way
        if idle and len(self.under_way) < FEW:
            assert self.schedule.next_at() <= self.now + BACK_OFF * INTERVAL_S * (1 + JITTER)


TestClockwork = Clockwork.TestCase
TestClockwork.settings = settings(max_examples=30, stateful_step_count=30)


def test_the_first_round_begins_a_moment_after_the_start():
    made = schedule("a", "b")
    assert made.next_at() == FIRST_S
    assert made.due(0.9, {}) == []
    assert made.due(1.0, {}) == ["a", "b"]


def test_nobody_is_probed_in_the_first_round_whom_calls_tell_of():
    made = schedule("a", "b")
    assert made.due(1.0, {"a": 0.5}) == ["b"]
    made.ended("b", 1.0, sick=False, in_doubt=False)
    assert made.next_at() >= 0.5 + INTERVAL_S


def test_a_provider_that_answers_calls_all_the_time_is_never_probed():
    made = schedule("a")
    for now in range(1, 200):
        assert made.due(float(now), {"a": now - 1.0}) == []


def test_one_that_was_heard_long_ago_is_probed():
    assert schedule("a").due(INTERVAL_S + 1, {"a": 1.0}) == []  # late: it is put off once
    made = schedule("a")
    made.due(1.0, {"a": 0.5})
    assert made.due(0.5 + INTERVAL_S * (1 + JITTER), {"a": 0.5}) == ["a"]


@given(st.floats(0, 1))
def test_the_interval_is_shaken_a_little(chance):
    wait_s = next_of(schedule("a", chance=lambda: chance), 1.0) - 1.0
    assert wait_s == pytest.approx(INTERVAL_S * (1 - JITTER + 2 * JITTER * chance))


def test_what_is_in_doubt_is_looked_at_again_in_a_moment():
    made = schedule("a")
    assert next_of(made, 1.0, in_doubt=True) == 1.0 + AGAIN_S
    assert next_of(made, 2.0, sick=True, in_doubt=True) == 2.0 + AGAIN_S


def test_a_sick_one_is_left_alone_for_longer_and_longer():
    made, now, waits = schedule("a"), 1.0, []
    for _ in range(6):
        then = next_of(made, now, sick=True)
        waits.append(then - now)
        now = then
    assert waits == [15.0, 30.0, 60.0, 60.0, 60.0, 60.0]
    assert next_of(made, now) - now == INTERVAL_S


def test_another_look_at_what_is_in_doubt_is_no_reason_to_leave_it_alone_for_longer():
    made = schedule("a")
    next_of(made, 1.0, sick=True)
    for now in (16.0, 17.0, 18.0):
        next_of(made, now, sick=True, in_doubt=True)
    assert next_of(made, 19.0, sick=True) - 19.0 == 2 * INTERVAL_S


def test_a_service_far_away_has_four_times_the_interval_well_or_sick():
    for sick in (False, True):
        assert next_of(schedule(far=["a"]), 1.0, sick=sick) - 1.0 == BACK_OFF * INTERVAL_S


def test_a_failed_call_is_looked_at_in_a_moment():
    made = schedule("a")
    next_of(made, 1.0)
    made.soon("a", 5.0)
    assert made.next_at() == 5.0 + AGAIN_S


def test_a_call_that_fails_during_a_probe_has_it_repeated():
    made = schedule("a")
    made.due(1.0, {})
    made.soon("a", 2.0)
    assert made.due(4.0, {}) == []
    made.ended("a", 3.0, sick=False, in_doubt=False)
    assert made.next_at() == 3.0 + AGAIN_S


def test_after_a_sleep_the_round_is_spread():
    made = schedule(*"abcdefgh")
    next_of(made, 1.0)
    begun = {}
    for tick in range(1000):
        now = 30_000 + tick / 100
        for name in made.due(now, {}):
            assert name not in begun
            begun[name] = now
            made.ended(name, now, sick=False, in_doubt=False)
    assert sorted(begun) == list("abcdefgh")
    assert 3 <= max(begun.values()) - min(begun.values()) <= 5


def test_after_a_sleep_a_few_are_under_way_at_most():
    made = schedule(*"abcdefgh")
    next_of(made, 1.0)
    begun = [name for tick in range(1000) for name in made.due(30_000 + tick / 10, {})]
    assert len(begun) == FEW
    assert made.next_at() == float("inf")
    made.ended(begun[0], 31_000.0, sick=False, in_doubt=False)
    assert len(made.due(31_000.0, {})) == 1


def test_who_looks_seldom_probes_all_the_same():
    made = schedule("a")
    assert [made.due(now, {}) for now in (100.0, 200.0)] == [[], ["a"]]


def test_so_many_at_once_and_no_more():
    made = schedule(*(f"p{number}" for number in range(40)))
    assert len(made.due(1.0, {})) == AT_ONCE
    assert made.next_at() == float("inf")


def test_one_that_changed_is_probed_again_but_not_twice_at_once():
    made = schedule("a")
    made.due(1.0, {})
    made.adopt({"a": False}, 2.0, ["a"])
    assert made.due(4.0, {}) == []
    made.ended("a", 4.0, sick=False, in_doubt=False)
    assert made.next_at() == 4.0 + AGAIN_S


def test_one_that_is_gone_is_not_probed():
    made = schedule("a", "b")
    made.due(1.0, {})
    made.adopt({"b": False}, 1.0)
    made.ended("a", 2.0, sick=False, in_doubt=False)
    made.ended("b", 2.0, sick=False, in_doubt=False)
    assert made.due(20.0, {}) == ["b"]


def test_one_that_went_and_came_during_its_probe_is_probed():
    made = schedule("a")
    made.due(1.0, {})
    made.adopt({}, 1.0)
    made.adopt({"a": False}, 1.5)
    made.ended("a", 2.0, sick=False, in_doubt=False)
    assert made.next_at() == 2.0 + AGAIN_S
