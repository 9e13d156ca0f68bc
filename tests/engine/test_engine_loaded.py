"""What is known to be loaded on a host, and what was learnt about the models there."""

import os
import time

import pytest

from lmroute.engine.live.hosts import ours
from lmroute.engine.live.learnt import Learnt
from lmroute.engine.live.loaded import REMEMBERED_S, Loaded, host_of
from lmroute.model import Candidate

TERN = Candidate("lm", "tern")


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def loaded(clock):
    return Loaded(clock)


def known(loaded, host="h:1"):
    return "".join(model for model in "abc" if loaded.has(host, model))


def test_a_model_is_loaded_when_it_has_answered(loaded):
    assert not loaded.has("h:1", "a")
    loaded.answered("h:1", "a")
    assert (known(loaded), known(loaded, "h:2")) == ("a", "")
    loaded.forget("h:1", "a")
    assert known(loaded) == ""
    loaded.forget("h:9", "a")


def test_a_model_that_is_new_may_have_taken_the_place_of_others(loaded):
    loaded.answered("h:1", "a")
    loaded.answered("h:2", "a")
    loaded.answered("h:1", "b")
    assert (known(loaded), known(loaded, "h:2")) == ("b", "a")


def test_a_model_that_has_not_answered_for_long_may_be_gone(loaded, clock):
    loaded.answered("h:1", "a")
    clock.now += REMEMBERED_S
    assert known(loaded) == "a"
    loaded.answered("h:1", "a")
    clock.now += REMEMBERED_S
    assert known(loaded) == "a"
    clock.now += 1
    assert known(loaded) == ""


def test_what_a_host_lists_is_loaded_or_not(loaded, clock):
    loaded.listed("h:1", {"a": True, "c": True}, since=clock.now)
    loaded.listed("h:1", {"a": False, "b": True}, since=clock.now)
    assert (known(loaded), known(loaded, "h:2")) == ("bc", "")  # of c nothing was said
    loaded.answered("h:1", "b")  # which is no news
    assert known(loaded) == "bc"
    clock.now += 1
    loaded.answered("h:1", "a")
    assert known(loaded) == "a"


@pytest.mark.parametrize("event", ["answered", "forget", "forget_all"])
def test_a_list_that_was_asked_for_before_something_happened_is_stale(loaded, clock, event):
    asked = clock.now
    clock.now += 1
    getattr(loaded, event)(*("h:1", "a")[: 1 if event == "forget_all" else 2])
    before = known(loaded)
    loaded.listed("h:1", {"b": True}, since=asked)
    assert known(loaded) == before
    clock.now += 1
    loaded.listed("h:1", {"a": False, "b": True}, since=clock.now)
    assert known(loaded) == "b"


def test_after_a_switch_that_failed_nothing_is_certain(loaded):
    loaded.answered("h:1", "a")
    loaded.answered("h:2", "a")
    loaded.forget_all("h:1")
    assert (known(loaded), known(loaded, "h:2")) == ("", "a")


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("http://127.0.0.1:1234", "localhost:1234"),
        ("http://127.0.0.1:1234/v1/", "localhost:1234"),
        ("http://LocalHost:1234", "localhost:1234"),
        ("http://Den.local:1234/api/v1", "den.local:1234"),
        ("http://me:hunter2@den.local:1234", "den.local:1234"),
        (None, ""),
    ],
)
def test_profiles_of_one_host_know_of_each_other(make, endpoint, host):
    assert host_of(make.profile(type="lmstudio", endpoint=endpoint)) == host
    assert host_of(make.profile(type="vllm", endpoint=endpoint)) == ""


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_hosts_of_its_own():
    """Those who are on a host in the parent would never leave it in the child."""
    assert Learnt().hosts is ours()
    ours().slots.take("h:1", 1)
    if (child := os.fork()) == 0:
        os._exit(0 if ours().slots.load("h:1") == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert Learnt().hosts.slots.load("h:1") == 1


@pytest.mark.parametrize(
    ("parallel", "stated", "limits"),
    [
        (None, None, (None, None)),
        (None, 3, (3, None)),
        (1, None, (1, None)),  # alone with the window, whatever it takes
        (2, None, (2, 4096)),
        (4, None, (4, 4096)),
        (16, None, (4, 4096)),
        (4, 1, (1, 4096)),
        (4, 9, (9, 4096)),
    ],
)
def test_learnt_limits(parallel, stated, limits):
    learnt = Learnt({TERN: 4096}, {} if parallel is None else {TERN: parallel})
    assert learnt.limits(TERN, stated) == limits


def test_a_window_that_is_not_known_bounds_nothing():
    assert Learnt(parallel={TERN: 4}).limits(TERN, None) == (4, None)


def test_by_default_it_goes_by_the_same_clock_as_calls():
    loaded = Loaded()
    loaded.listed("h:1", {"a": True}, since=time.monotonic())
    assert known(loaded) == "a"
