"""The monitor: probes in the background, what calls tell, and no thread left behind."""

import gc
import logging
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from lmroute.emulator.running import running
from lmroute.health import clock as health_clock
from lmroute.health.monitor import Monitor
from lmroute.health.sharing import Shared
from lmroute.health.status import Source
from lmroute.model import Failure, Health, Locality, Profile
from lmroute.providers.inventory import Api, Inventory
from lmroute.providers.probe import ErrorCode, ListedModel, Outcome, Patience, Phase, ProbeResult, State
from lmroute.providers.probe.faults import KINDS

WATCH = Health(watch=True, interval_s=15.0)
LONG_S = 30.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Servers:
    """What is found when the servers are probed, and how often each was, by provider."""

    def __init__(self):
        self.codes = {}
        self.probed = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, profile, *, secret, patience):
        self.probed.append(profile.id)
        assert patience == Patience(total_s=2.0, retries=2)
        assert self.gate.wait(LONG_S)
        code = self.codes.get(profile.id)
        if code is None:
            inventory = Inventory(Api.PLAIN, (ListedModel("m"),))
            return ProbeResult(profile.id, State.HEALTHY, inventory=inventory, tries=1, latency_ms=2.0)
        phases = (Phase("connect", 1.0, Outcome.OK),)
        return ProbeResult(profile.id, KINDS[code].state, code, f"it is {code}", "do this", phases=phases, tries=1)


def profile(name="a", **fields):
    return Profile(**{"id": name, "type": "openai_compatible", "locality": Locality.LOOPBACK} | fields)


def until(condition):
    """Wait for what threads are to bring about."""
    ends = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.002)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def servers():
    return Servers()


@contextmanager
def watching(*profiles, servers, clock, settings=WATCH, **more):
    before = set(threading.enumerate())
    monitor = Monitor(profiles, settings, probe=servers, clock=clock, wall=lambda: clock() + 1e9, **more)
    try:
        monitor.start()
        yield monitor
    finally:
        servers.gate.set()
        monitor.close()
        until(lambda: set(threading.enumerate()) <= before)


def go(monitor, clock, seconds, servers, probes=1):
    """Let time pass, and the monitor see to it: so many probes more."""
    wanted = len(servers.probed) + probes
    clock.now += seconds
    monitor._wake.put(None)  # which has it look at the clock
    until(lambda: len(servers.probed) >= wanted and not busy())


def busy():
    """Threads that probe."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("lmroute health ")]


def state(monitor, name="a"):
    return monitor.statuses()[name].state


def test_it_finds_out_how_servers_are(servers, clock):
    servers.codes["b"] = ErrorCode.CONNECTION_REFUSED
    with watching(profile("a"), profile("b"), profile("off", enabled=False), servers=servers, clock=clock) as monitor:
        assert {status.state for status in monitor.statuses().values()} == {State.UNKNOWN}
        go(monitor, clock, 1.5, servers, probes=2)
        statuses = monitor.statuses()
        assert (statuses["a"].state, statuses["a"].models, statuses["a"].latency_ms) == (State.HEALTHY, ("m",), 2.0)
        assert (statuses["b"].state, statuses["b"].message) == (State.DOWN, "it is connection_refused")
        assert statuses["a"].last_checked == clock() + 1e9
        assert statuses["a"].source is Source.PROBE
        assert (statuses["off"].state, statuses["off"].message) == (State.UNKNOWN, "it is off")
        assert monitor.unusable() == {"b": "health: down (connection_refused)"}
        assert sorted(servers.probed) == ["a", "b"]


def test_without_a_watch_only_calls_tell_and_nobody_is_left_out(servers, clock):
    with watching(profile(), servers=servers, clock=clock, settings=Health(watch=False)) as monitor:
        assert not monitor_threads()
        monitor.answered("a")
        assert state(monitor) is State.HEALTHY
        for _ in range(5):
            monitor.failed("a", Failure.TRANSPORT)
        assert state(monitor) is State.DOWN
        assert (monitor.unusable(), monitor.throttled()) == ({}, {})


def test_what_it_does_not_know_it_ignores(servers, clock):
    with watching(profile(), servers=servers, clock=clock) as monitor:
        monitor.answered("nobody")
        monitor.failed("nobody", Failure.SERVER)
        monitor.failed("a", Failure.INVALID_REQUEST)
        assert state(monitor) is State.UNKNOWN


def test_a_probe_of_what_a_provider_was_before_tells_nothing(servers, clock):
    servers.codes["a"] = ErrorCode.TLS_ERROR
    servers.gate.clear()
    with watching(profile(), servers=servers, clock=clock) as monitor:
        clock.now += 1.5
        monitor._wake.put(None)
        until(lambda: servers.probed)
        monitor.adopt([profile(endpoint="http://127.0.0.1:1")])
        servers.gate.set()
        until(lambda: not busy())
        assert state(monitor) is State.UNKNOWN
        del servers.codes["a"]
        go(monitor, clock, 1.5, servers)
        assert state(monitor) is State.HEALTHY


def test_whoever_is_told_of_changes_may_fail(servers, clock, caplog):
    told = []

    def bad(_status):
        raise ValueError("not my day")

    with watching(profile(), servers=servers, clock=clock) as monitor:
        end_bad = monitor.subscribe(bad)
        monitor.subscribe(lambda status: told.append(status.state))
        end = monitor.subscribe(lambda status: told.append("too late"), every_change=True)
        end()
        go(monitor, clock, 1.5, servers)
        until(lambda: told)
        end_bad()
    assert told == [State.HEALTHY]
    assert "not my day" in caplog.text


def test_a_probe_that_fails_in_a_way_of_its_own_is_logged_and_goes_on(clock, caplog):
    class Broken(Servers):
        def __call__(self, profile, **more):
            super().__call__(profile, **more)
            raise ZeroDivisionError

    servers = Broken()
    with caplog.at_level(logging.ERROR, "lmroute.health"), watching(profile(), servers=servers, clock=clock) as monitor:
        go(monitor, clock, 1.5, servers)
        assert state(monitor) is State.UNKNOWN
    assert "the health of a could not be found out" in caplog.text


def monitor_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("lmroute health")]


def test_nothing_is_started_before_it_is_wanted_and_nothing_twice(servers, clock):
    with watching(profile(), servers=servers, clock=clock) as monitor:
        for _ in range(3):
            monitor.start()
        assert len(monitor_threads()) == 1
        monitor.close()
        assert monitor_threads() == []
        assert monitor.unusable() == {}
        monitor.start()
        assert len(monitor_threads()) == 1


def test_nobody_is_left_out_when_nobody_watches_any_more(servers, clock):
    servers.codes["a"] = ErrorCode.TLS_ERROR
    with watching(profile(), servers=servers, clock=clock) as monitor:
        go(monitor, clock, 1.5, servers)
        assert list(monitor.unusable()) == ["a"]
        monitor.close()
        assert monitor.unusable() == {}


def test_a_system_without_another_thread_is_asked_again_later(servers, clock, monkeypatch):
    refused = []

    def start(thread):
        if thread.name == "lmroute health a" and not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        really(thread)

    really = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    with watching(profile(), servers=servers, clock=clock) as monitor:
        go(monitor, clock, 1.5, servers, probes=0)
        until(lambda: refused)

        def is_well_by_now():
            go(monitor, clock, 0.5, servers, probes=0)
            return state(monitor) is State.HEALTHY

        until(is_well_by_now)


def test_a_system_without_a_thread_for_the_monitor_fails_no_call(servers, clock, monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        monitor = Monitor([profile()], WATCH, probe=servers, clock=clock)
        monitor.start()
        monitor.failed("a", Failure.AUTH)
        assert (state(monitor), monitor.unusable()) == (State.AUTH, {})
    try:
        monitor.start()
        assert list(monitor.unusable()) == ["a"]
    finally:
        monitor.close()


def test_a_server_that_is_busy_with_calls_is_not_left_out(servers, clock):
    servers.codes["a"] = ErrorCode.TIMEOUT
    with watching(profile(), servers=servers, clock=clock) as monitor:
        monitor.under_way = {"a": 2}.get
        go(monitor, clock, 1.5, servers)
        until(lambda: state(monitor) is not State.UNKNOWN)
        status = monitor.statuses()["a"]
        assert status.state is State.DEGRADED
        assert "2 calls are under way" in status.message
        assert monitor.unusable() == {}


def test_processes_of_a_machine_ask_once(servers, clock, tmp_path):
    shared = Shared(tmp_path, monotonic=clock, wall=clock)
    servers.gate.clear()
    with (
        watching(profile(), servers=servers, clock=clock, results=shared) as first,
        watching(profile(), servers=servers, clock=clock, results=shared) as second,
    ):
        both = (first, second)
        clock.now += 1.5
        for monitor in both:
            monitor._wake.put(None)
        until(lambda: servers.probed and len(busy()) == 1)
        servers.gate.set()
        until(lambda: not busy())

        def are_well():
            clock.now += 0.1
            for monitor in both:
                monitor._wake.put(None)
            return {state(first), state(second)} == {State.HEALTHY}

        until(are_well)
        assert servers.probed == ["a"]
        assert {monitor.statuses()["a"].source for monitor in both} == {Source.PROBE, Source.SHARED}


def test_closing_does_not_wait_for_a_server_that_hangs(servers, clock):
    servers.gate.clear()
    with watching(profile(), servers=servers, clock=clock) as monitor:
        clock.now += 1.5
        monitor._wake.put(None)
        until(lambda: servers.probed)
        began = time.monotonic()
        monitor.close()
        assert time.monotonic() - began < 5
        assert [thread.daemon for thread in monitor_threads()] == [True]


def test_a_monitor_that_is_forgotten_ends(servers, clock):
    monitor = Monitor([profile()], WATCH, probe=servers, clock=clock)
    monitor.start()
    assert monitor_threads()
    wake = monitor._wake
    del monitor
    gc.collect()
    wake.put(None)
    until(lambda: not monitor_threads())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_begins_anew(servers, clock):
    with watching(profile(), servers=servers, clock=clock) as monitor:
        go(monitor, clock, 1.5, servers)
        seen = monitor.epoch
        monitor._lock.acquire()  # as another thread may have, at that moment
        held = threading.Thread(target=lambda: None)
        held.start()
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                servers.probed.clear()
                is_anew = state(monitor) is State.UNKNOWN and monitor.epoch > seen and not monitor_threads()
                monitor.start()
                clock.now += 1.5
                monitor._wake.put(None)
                until(lambda: state(monitor) is State.HEALTHY)
                monitor.close()
                os.write(write, b"well" if is_anew and servers.probed == ["a"] else b"bad")
            finally:
                os._exit(0)
        monitor._lock.release()
        os.waitpid(child, 0)
        assert os.read(read, 10) == b"well"
        os.close(read)
        os.close(write)


@pytest.mark.skipif(not hasattr(time, "clock_gettime"), reason="no other clocks here")
def test_a_kernel_without_a_clock_that_goes_on_has_one_that_does_not(monkeypatch):
    def refuse(_clock):
        raise OSError

    assert health_clock._found()() > 0
    monkeypatch.setattr(time, "clock_gettime", refuse)
    assert health_clock._found() is time.monotonic


def test_real_servers(clock):
    settings = replace(WATCH, interval_s=0.05, timeout_s=5.0, retries=0)
    with running() as server:
        there = profile("there", type="lmstudio", endpoint=server.url)
        gone = profile("gone", type="lmstudio", endpoint="http://127.0.0.1:9")
        monitor = Monitor([there, gone], settings)
        try:
            monitor.start()
            until(lambda: State.UNKNOWN not in {status.state for status in monitor.statuses().values()})
            statuses = monitor.statuses()
        finally:
            monitor.close()
    assert statuses["there"].state is State.HEALTHY
    assert statuses["there"].models
    assert (statuses["gone"].state, statuses["gone"].error_code) == (State.DOWN, ErrorCode.CONNECTION_REFUSED)
    until(lambda: not monitor_threads())
