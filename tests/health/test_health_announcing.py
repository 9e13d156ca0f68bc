"""Announcements: on change only, and not many."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lmroute.health.announcing import WINDOW_S, Announcer
from lmroute.health.status import Status
from lmroute.providers.probe import State

steps = st.lists(st.tuples(st.floats(0, 8), st.sampled_from("ab"), st.sampled_from(State)), max_size=60)


def heard_of(steps, announcer):
    """What is announced, with when: whoever announces looks at the clock whenever it is time."""
    now, said = 0.0, []

    def look(until):
        while announcer.next_at() <= until:
            at = announcer.next_at()
            said.extend((at, status) for status in announcer.due(at))

    for later, provider, state in steps:
        now += later
        look(now)
        if status := announcer.changed(Status(provider, state), now):
            said.append((now, status))
    look(now + 2 * WINDOW_S)
    return said


@given(steps)
def test_one_announcement_in_ten_seconds_at_most(steps):
    said = heard_of(steps, Announcer())
    for provider in "ab":
        times = [at for at, status in said if status.provider == provider]
        assert all(later >= at + WINDOW_S for at, later in pairwise(times))


@given(steps)
def test_only_changes_are_announced_and_the_last_one_is(steps):
    said = heard_of(steps, Announcer())
    for provider in "ab":
        states = [State.UNKNOWN, *(status.state for _, status in said if status.provider == provider)]
        assert all(before is not after for before, after in pairwise(states))
        real = [State.UNKNOWN, *(state for _, name, state in steps if name == provider)]
        assert states[-1] is real[-1]


def test_the_first_change_is_announced_at_once():
    status = Status("a", State.DOWN)
    assert Announcer().changed(status, 3.0) is status


def test_what_was_told_already_is_no_change():
    assert Announcer([Status("a", State.DOWN)]).changed(Status("a", State.DOWN), 3.0) is None


def test_a_change_that_was_undone_is_not_announced():
    announcer = Announcer()
    announcer.changed(Status("a", State.HEALTHY), 0.0)
    assert announcer.changed(Status("a", State.DOWN), 2.0) is None
    assert announcer.changed(Status("a", State.HEALTHY), 4.0) is None
    assert announcer.next_at() == float("inf")
    assert announcer.due(100.0) == []


def test_a_change_that_lasts_is_announced_when_the_time_has_come():
    announcer = Announcer()
    announcer.changed(Status("a", State.HEALTHY), 0.0)
    announcer.changed(Status("a", State.DOWN, message="first"), 2.0)
    announcer.changed(Status("a", State.DOWN, message="latest"), 4.0)
    assert announcer.next_at() == WINDOW_S
    assert announcer.due(WINDOW_S - 0.1) == []
    assert [status.message for status in announcer.due(WINDOW_S)] == ["latest"]
    assert announcer.due(WINDOW_S) == []


def test_providers_do_not_wait_for_each_other():
    announcer = Announcer()
    announcer.changed(Status("a", State.HEALTHY), 0.0)
    assert announcer.changed(Status("b", State.DOWN), 1.0) is not None
