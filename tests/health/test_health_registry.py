"""All providers together: who is probed, who is left out, what is announced. Time passes when a test says so."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmroute.health.announcing import WINDOW_S
from lmroute.health.registry import Moment, Registry
from lmroute.health.status import Source
from lmroute.model import Failure, Health, Locality, Profile
from lmroute.providers.inventory import Api, Inventory
from lmroute.providers.probe import SERVING, ErrorCode, ListedModel, Outcome, Phase, ProbeResult, State
from lmroute.providers.probe.faults import KINDS

EPOCH = 1_800_000_000.0
STEP_S = 0.25


def profile(name="a", **fields):
    return Profile(**{"id": name, "type": "openai_compatible", "locality": Locality.LOOPBACK} | fields)


class World:
    """A registry, servers that answer its probes at once, and the clock.

    Attributes:
        codes: by provider, what is wrong with it.
        probed: who was, with when; ``changed`` and ``announced`` likewise.
    """

    def __init__(self, *profiles, is_watched=True, chance=lambda: 0.5):
        self.now = 1000.0
        self.codes = {}
        self.retry_after_s = None
        self.probed, self.changed, self.announced = [], [], []
        self.registry = Registry(Health(watch=True), chance=chance)
        self.adopt(*profiles)
        if is_watched:
            self.registry.watch(self.when, on=True)

    @property
    def when(self):
        return Moment(self.now, EPOCH + self.now)

    def adopt(self, *profiles):
        self.registry.adopt(profiles or [profile()], self.registry.settings, self.when)

    def turn(self):
        turn = self.registry.turn(self.when)
        for server in turn.begin:
            self.probed.append((self.now, server.profile.id))
            self.registry.ended(server, self.when, (self.found(server.profile.id), 0.0, Source.PROBE), self.now)
        self.changed += [(self.now, status) for status in turn.changed]
        self.announced += [(self.now, status) for status in turn.announced]
        return turn

    def go(self, seconds):
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.turn()

    def found(self, name):
        code = self.codes.get(name)
        if code is None:
            return ProbeResult(name, State.HEALTHY, inventory=Inventory(Api.PLAIN, (ListedModel("m"),)), tries=1)
        wait_s = self.retry_after_s
        return ProbeResult(name, KINDS[code].state, code, f"it is {code}", "do this", tries=1, retry_after_s=wait_s)

    def answered(self, name="a"):
        self.registry.answered(self.registry.servers[name], self.when, 0.0)

    def failed(self, failure, name="a", retry_after_s=None):
        server = self.registry.servers[name]
        self.registry.failed(server, self.when, failure, took_s=0.0, retry_after_s=retry_after_s, said="")

    def state(self, name="a"):
        return self.registry.statuses(self.when)[name].state


def test_the_first_round_tells_how_everybody_is():
    world = World(profile("a"), profile("b"), profile("off", enabled=False))
    world.codes["b"] = ErrorCode.CONNECTION_REFUSED
    world.go(1.5)
    assert (world.state("a"), world.state("b"), world.state("off")) == (State.HEALTHY, State.DOWN, State.UNKNOWN)
    assert world.registry.unusable == {"b": "health: down (connection_refused)"}
    assert sorted(name for _, name in world.probed) == ["a", "b"]


def test_the_epoch_grows_when_somebody_becomes_unusable_or_usable_and_only_then():
    world = World()
    world.go(1.5)
    seen = world.registry.epoch
    world.failed(Failure.TRANSPORT)
    world.answered()
    world.go(60)
    assert world.registry.epoch == seen
    world.codes["a"] = ErrorCode.TLS_ERROR
    world.go(20)
    assert world.registry.unusable == {"a": "health: misconfigured (tls_error)"}
    assert world.registry.epoch == seen + 1
    del world.codes["a"]
    world.go(60)
    assert world.registry.unusable == {}
    assert world.registry.epoch == seen + 2


@pytest.mark.parametrize(
    ("code", "is_out"),
    [
        (ErrorCode.NOT_FOUND, False),
        (ErrorCode.NO_MODELS, False),
        (ErrorCode.MODEL_NOT_FOUND, False),
        (ErrorCode.UNEXPECTED_SHAPE, False),
        (ErrorCode.MODEL_LOADING, False),
        (ErrorCode.WRONG_TYPE, False),
        (ErrorCode.TLS_ERROR, True),
        (ErrorCode.NO_TLS, True),
        (ErrorCode.BAD_ENDPOINT, True),
        (ErrorCode.NOT_JSON, True),
        (ErrorCode.PROTOCOL_ERROR, True),
        (ErrorCode.REDIRECT_REFUSED, True),
        (ErrorCode.ADDRESS_REFUSED, True),
        (ErrorCode.TOKEN_REFUSED, True),
        (ErrorCode.TIMEOUT, True),
    ],
)
def test_who_may_be_asked(code, is_out):
    world = World()
    world.codes["a"] = code
    world.go(2.75)
    assert world.state() is not State.HEALTHY
    assert ("a" in world.registry.unusable) is is_out


def test_two_calls_that_fail_make_a_server_unusable_and_two_probes_bring_it_back():
    world = World()
    world.go(1.5)
    world.failed(Failure.TRANSPORT)
    assert world.registry.unusable == {}
    world.failed(Failure.TRANSPORT)
    assert list(world.registry.unusable) == ["a"]
    world.go(1.25)
    assert (world.state(), len(world.probed)) == (State.DOWN, 2)
    world.go(1.25)
    assert (world.state(), len(world.probed)) == (State.DEGRADED, 3)
    assert world.registry.unusable == {}


def test_a_server_whose_chats_all_fail_is_asked_and_never_called_healthy():
    """Its list is fine: after one call that was answered as before any."""
    for was_answered in (True, False):
        world = World()
        if was_answered:
            world.answered()
        world.changed.clear()
        for _ in range(5):
            world.failed(Failure.SERVER)
            world.go(1.5)
        status = world.registry.statuses(world.when)["a"]
        assert (status.state, status.error_code) == (State.DEGRADED, ErrorCode.SERVER_ERROR)
        assert status.message
        assert status.fix
        assert world.registry.unusable == {}
        assert [told.state for _, told in world.changed][-1] is State.DEGRADED


def test_one_hiccup_at_the_very_first_look_leaves_nobody_out():
    world = World()
    world.codes["a"] = ErrorCode.SERVER_ERROR
    world.go(1.25)
    assert (world.state(), len(world.probed), world.registry.unusable) == (State.UNKNOWN, 1, {})
    assert world.registry.statuses(world.when)["a"].message == "it is server_error"
    del world.codes["a"]
    world.go(1.25)
    assert (world.state(), len(world.probed)) == (State.HEALTHY, 2)


def late(name, *, connected=True):
    phases = (Phase("connect", 1.0, Outcome.OK if connected else Outcome.FAILED),)
    return ProbeResult(name, State.DOWN, ErrorCode.TIMEOUT, "late", "wait", phases=phases, tries=3)


@pytest.mark.parametrize(
    ("calls", "connected", "state"), [(1, True, State.DEGRADED), (0, True, State.DOWN), (1, False, State.DOWN)]
)
def test_a_list_that_is_late_while_calls_are_under_way(calls, connected, state):
    world = World()
    world.now += 1.5
    (server,) = world.registry.turn(world.when).begin
    for _ in range(3):
        found = (late("a", connected=connected), 0.0, Source.PROBE)
        world.registry.ended(server, world.when, found, world.now, under_way=calls)
    assert world.state() is state
    assert bool(world.registry.unusable) is (state is State.DOWN)


def test_who_is_busy_is_not_looked_at_every_second():
    world = World()
    world.now += 1.5
    (server,) = world.registry.turn(world.when).begin
    world.failed(Failure.TIMEOUT)
    world.registry.ended(server, world.when, (late("a"), 0.0, Source.PROBE), world.now, under_way=1)
    world.now += 2.0
    (server,) = world.registry.turn(world.when).begin
    world.registry.ended(server, world.when, (late("a"), 0.0, Source.PROBE), world.now, under_way=1)
    assert world.registry.turn(world.when).next_at > world.now + 5


def test_a_result_of_a_process_that_was_stopped_meanwhile_is_dropped_and_found_out_anew():
    world = World()
    world.now += 1.5
    (server,) = world.registry.turn(world.when).begin
    began = world.now
    world.now += 60
    world.codes["a"] = ErrorCode.TLS_ERROR
    world.registry.ended(server, world.when, (world.found("a"), 0.0, Source.PROBE), began)
    assert world.registry.statuses(world.when)["a"].last_checked is None
    del world.codes["a"]
    world.go(1.5)
    assert world.state() is State.HEALTHY


def test_calls_that_are_answered_save_probes():
    world = World()
    world.go(1.5)
    for _ in range(100):
        world.go(1.0)
        world.answered()
    assert len(world.probed) == 1
    assert world.state() is State.HEALTHY


def test_a_settled_server_that_goes_on_answering_needs_no_more_than_a_mark():
    world = World()
    world.go(1.5)
    for _ in range(100):
        world.go(1.0)
        assert world.registry.servers["a"].is_settled
        world.registry.servers["a"].heard = world.now
    status = world.registry.statuses(world.when)["a"]
    assert (status.state, status.source, status.last_checked) == (State.HEALTHY, Source.CALL, EPOCH + world.now)
    assert len(world.probed) == 1


def test_a_failure_soon_after_an_answer_is_looked_at_all_the_same():
    world = World()
    world.go(1.5)
    world.answered()
    world.codes["a"] = ErrorCode.CONNECTION_REFUSED
    world.failed(Failure.TRANSPORT)
    world.go(1.25)
    assert world.state() is State.DOWN


def test_a_server_that_dies_is_found_down_within_an_interval_and_a_moment():
    world = World()
    world.go(20)
    world.codes["a"] = ErrorCode.CONNECTION_REFUSED
    world.go(16.5)
    assert world.state() is State.DOWN
    del world.codes["a"]
    world.go(32)
    assert world.state() is State.HEALTHY


def test_throttling_is_told_apart_and_ends():
    world = World()
    world.go(1.5)
    world.failed(Failure.RATE_LIMIT, retry_after_s=5.0)
    assert (world.registry.throttled, world.registry.unusable) == ({"a": "throttled by the server"}, {})
    seen = world.registry.epoch
    assert world.turn().next_at == world.now + 5
    world.go(5)
    assert (world.registry.throttled, world.registry.epoch) == ({}, seen + 1)
    assert world.state() is State.HEALTHY


def test_a_server_that_throttles_probes_is_left_alone_for_as_long_as_it_asked():
    world = World()
    world.codes["a"] = ErrorCode.RATE_LIMITED
    world.retry_after_s = 100.0
    world.go(1.5)
    assert (world.state(), len(world.probed)) == (State.THROTTLED, 1)
    world.go(99)
    assert (world.state(), len(world.probed)) == (State.THROTTLED, 1)
    del world.codes["a"]
    world.go(2)
    assert (world.state(), len(world.probed)) == (State.HEALTHY, 2)


@pytest.mark.parametrize("code", [ErrorCode.RATE_LIMITED, ErrorCode.NO_LIST])
def test_what_no_probe_can_settle_is_not_looked_at_every_second(code):
    world = World()
    world.go(1.5)
    world.failed(Failure.TRANSPORT)
    world.codes["a"] = code
    world.go(30)
    assert len(world.probed) <= 4


def test_what_nobody_looked_at_for_long_is_unknown_and_may_be_asked():
    world = World()
    world.codes["a"] = ErrorCode.TOKEN_REFUSED
    world.go(1.5)
    assert list(world.registry.unusable) == ["a"]
    world.now += 1000
    assert world.state() is State.UNKNOWN
    world.registry.turn(world.when)
    assert world.registry.unusable == {}


@pytest.mark.parametrize("code", [None, ErrorCode.TOKEN_REFUSED, ErrorCode.TIMEOUT])
@pytest.mark.parametrize("locality", [Locality.LOOPBACK, Locality.CLOUD])
@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_nobody_becomes_unknown_between_two_probes(code, locality, chance):
    world = World(profile(locality=locality), chance=lambda: chance)
    world.codes["a"] = code
    world.go(600)
    assert [status.state for _, status in world.changed] == [KINDS[code].state if code else State.HEALTHY]


def test_a_sleep_of_the_machine_makes_unknown_and_brings_one_probe_of_each():
    world = World(*(profile(f"p{number}") for number in range(10)))
    world.go(2)
    world.now += 30_000
    world.turn()
    assert {status.state for status in world.registry.statuses(world.when).values()} == {State.UNKNOWN}
    world.go(8)
    assert len(world.probed) == 20
    assert all(world.state(f"p{number}") is State.HEALTHY for number in range(10))


def test_without_a_watch_nobody_is_left_out():
    world = World(is_watched=False)
    for _ in range(5):
        world.failed(Failure.TRANSPORT)
    world.failed(Failure.RATE_LIMIT, retry_after_s=9)
    assert world.state() is State.DOWN
    assert (world.registry.unusable, world.registry.throttled) == ({}, {})


def test_a_provider_that_no_probe_can_tell_of_is_never_left_out():
    world = World(profile(type="litellm"))
    for _ in range(3):
        world.failed(Failure.AUTH)
    assert world.state() is State.AUTH
    assert world.registry.unusable == {}


def test_another_configuration_keeps_what_is_known_of_the_same():
    world = World(profile("a"), profile("b"))
    world.go(1.5)
    world.adopt(profile("a"), profile("b", endpoint="http://127.0.0.1:1"), profile("c"))
    assert [world.state(name) for name in "abc"] == [State.HEALTHY, State.UNKNOWN, State.UNKNOWN]
    world.go(1.5)
    assert sorted(name for _, name in world.probed[2:]) == ["b", "c"]


def test_whoever_was_left_out_is_not_when_it_is_gone():
    world = World(profile("a"), profile("b"))
    world.codes["b"] = ErrorCode.TLS_ERROR
    world.go(1.5)
    seen = world.registry.epoch
    world.adopt(profile("a"))
    assert (world.registry.unusable, list(world.registry.statuses(world.when))) == ({}, ["a"])
    assert world.registry.epoch > seen


def test_a_probe_of_what_a_provider_was_before_tells_nothing():
    world = World()
    world.now += 1.5
    (server,) = world.registry.turn(world.when).begin
    world.adopt(profile(endpoint="http://127.0.0.1:1"))
    world.codes["a"] = ErrorCode.TLS_ERROR
    world.registry.ended(server, world.when, (world.found("a"), 0.0, Source.PROBE), world.now)
    assert world.state() is State.UNKNOWN
    world.go(1.25)
    assert world.state() is State.MISCONFIGURED


def test_a_result_of_another_process_has_its_age():
    world = World()
    world.now += 1.5
    (server,) = world.registry.turn(world.when).begin
    world.registry.ended(server, world.when, (world.found("a"), 7.0, Source.SHARED), world.now)
    status = world.registry.statuses(world.when)["a"]
    assert (status.source, status.last_checked) == (Source.SHARED, EPOCH + world.now - 7)
    assert world.registry.longest_age_s(server, world.now + 1) == 8.0


def test_a_flapping_server_is_announced_seldom():
    world = World()
    world.go(2)
    for at in range(60):
        world.codes["a"] = ErrorCode.TLS_ERROR if at % 2 else None
        world.failed(Failure.TRANSPORT)
        world.go(1.5)
    times = [at for at, _ in world.announced]
    assert len(world.changed) > 2 * len(times)
    assert all(later - at >= WINDOW_S for at, later in pairwise(times))


events = st.one_of(
    st.sampled_from([None, ErrorCode.TIMEOUT, ErrorCode.TLS_ERROR, ErrorCode.NOT_FOUND, ErrorCode.MODEL_LOADING]),
    st.sampled_from(["answered", *Failure]),
    st.floats(0.25, 120),
)


@settings(max_examples=40)
@given(st.lists(events, max_size=25))
def test_what_is_told_is_consistent(steps):
    """Reasons not to ask are those of the states told, changes tell each new state once, and calls are believed."""
    world = World()
    for step in steps:
        if isinstance(step, float):
            world.go(min(step, 20))
        elif step == "answered":
            world.answered()
            assert world.state() in {*SERVING, State.THROTTLED}
        elif isinstance(step, Failure):
            if step not in {Failure.INVALID_REQUEST, Failure.CONTEXT_LENGTH, Failure.GUARANTEE} | {
                Failure.UNSUPPORTED_FEATURE
            }:
                world.failed(step)
        else:
            world.codes["a"] = step
        if world.registry.unusable:
            assert world.state() in {State.DOWN, State.AUTH, State.MISCONFIGURED}
        assert bool(world.registry.throttled) <= (world.state() is State.THROTTLED)
    world.turn()
    states = [State.UNKNOWN, *(status.state for _, status in world.changed)]
    assert all(before is not after for before, after in pairwise(states))
    assert states[-1] is world.state()
