"""One probe for the monitor: whom another process has asked already, and secrets that are found once."""

from contextlib import contextmanager

import pytest

from lmroute.errors import SecretError
from lmroute.health.asking import Asker
from lmroute.health.registry import Moment, Registry
from lmroute.health.status import Source
from lmroute.health.tokens import AGAIN_S, Tokens
from lmroute.model import Health, Profile, Secret, SecretRef, SecretSource
from lmroute.providers.probe import ErrorCode, Patience, ProbeResult, State

COMMAND = SecretRef(SecretSource.COMMAND, ("op", "read"))
VARIABLE = SecretRef(SecretSource.ENV, ("TOKEN",))


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Together:
    """Results that processes share, and whose turn it is."""

    def __init__(self, result=None, age_s=0.0, *, is_taken=False):
        self.result, self.age_s, self.is_taken = result, age_s, is_taken
        self.published = []

    def fresh(self, profile, token, max_age_s):
        return (self.result, self.age_s) if self.result and self.age_s <= max_age_s else None

    @contextmanager
    def probing(self, profile, token):
        yield not self.is_taken

    def publish(self, profile, token, result):
        self.published.append((result, token and token.reveal()))


class Manager:
    """A password manager, and how often it was asked."""

    def __init__(self):
        self.value, self.asked = "one", 0

    def __call__(self, ref):
        self.asked += 1
        if self.value is None:
            raise SecretError("not signed in")
        return Secret(self.value)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source():
    return Manager()


def found(code=None):
    state = State.AUTH if code else State.HEALTHY
    return ProbeResult("a", state, code, tries=1)


def asked(asker, clock, **fields):
    """What a monitor's first probe finds."""
    registry = Registry(Health(watch=True, timeout_s=3.0, retries=1))
    registry.adopt([Profile(**{"id": "a", "type": "openai_compatible"} | fields)], registry.settings, Moment(0, 0))
    return asker(registry.servers["a"], registry)


def test_the_probe_has_the_patience_of_the_configuration(clock):
    given = []

    def probe(profile, *, secret, patience):
        given.append(patience)
        return found()

    assert asked(Asker(probe, clock), clock) == (found(), 0.0, Source.PROBE)
    assert given == [Patience(total_s=3.0, retries=1)]


def test_what_another_process_found_is_used(clock):
    def nobody(profile, **_):
        raise AssertionError

    assert asked(Asker(nobody, clock, Together(found(), 7.0)), clock) == (found(), 7.0, Source.SHARED)


def test_what_is_too_old_is_found_out_anew_and_published(clock, monkeypatch):
    monkeypatch.setenv("TOKEN", "abcdefgh")
    shared = Together(found(ErrorCode.TOKEN_REFUSED), 3600.0)

    def probe(profile, *, secret, patience):
        assert secret(profile.auth_token).reveal() == "abcdefgh"
        return found()

    assert asked(Asker(probe, clock, shared), clock, auth_token=VARIABLE) == (found(), 0.0, Source.PROBE)
    assert shared.published == [(found(), "abcdefgh")]


def test_a_process_waits_while_another_one_is_at_it_but_not_for_ever(clock):
    registry = Registry(Health(watch=True))
    registry.adopt([Profile("a", "openai_compatible")], registry.settings, Moment(0, 0))
    asker = Asker(lambda profile, **_: found(), clock, Together(is_taken=True))
    begun = clock.now
    for _ in range(20):
        if (it := asker(registry.servers["a"], registry)) is not None:
            break
        clock.now += 1.0
    assert it == (found(), 0.0, Source.PROBE)
    assert 6 < clock.now - begun < 9
    assert asker(registry.servers["a"], registry) is None


@pytest.mark.parametrize(("took_s", "is_published"), [(4.0, True), (60.0, False)])
def test_a_process_that_was_stopped_while_it_probed_publishes_nothing(clock, took_s, is_published):
    def probe(profile, **_):
        clock.now += took_s
        return found()

    shared = Together()
    assert asked(Asker(probe, clock, shared), clock) == (found(), 0.0, Source.PROBE)
    assert bool(shared.published) is is_published


def test_what_was_published_just_before_the_turn_was_had_is_used(clock):
    class JustNow(Together):
        @contextmanager
        def probing(self, profile, token):
            self.result = found()
            yield True

    asker = Asker(lambda profile, **_: found(ErrorCode.TOKEN_REFUSED), clock, JustNow())
    assert asked(asker, clock) == (found(), 0.0, Source.SHARED)


def test_a_token_that_cannot_be_had_is_for_the_probe_to_tell(clock):
    def probe(profile, *, secret, patience):
        with pytest.raises(SecretError):
            secret(profile.auth_token)
        return found(ErrorCode.TOKEN_MISSING)

    shared = Together(found())
    assert asked(Asker(probe, clock, shared), clock, auth_token=VARIABLE)[0].error_code is ErrorCode.TOKEN_MISSING
    assert shared.published == []


def test_a_refused_token_is_asked_for_anew(clock, monkeypatch):
    asker = Asker(lambda profile, *, secret, patience: found(ErrorCode.TOKEN_REFUSED), clock)
    source = Manager()
    asker._tokens = Tokens(clock, source)
    for _ in range(3):
        asked(asker, clock, auth_token=COMMAND)
        clock.now += AGAIN_S + 1
    assert source.asked == 3


def test_a_command_is_asked_once(clock, source):
    tokens = Tokens(clock, source)
    for _ in range(5):
        clock.now += 3600
        assert tokens(COMMAND).reveal() == "one"
    assert source.asked == 1


def test_a_variable_is_looked_up_every_time(clock, source):
    tokens = Tokens(clock, source)
    tokens(VARIABLE)
    source.value = "two"
    assert tokens(VARIABLE).reveal() == "two"


def test_a_command_whose_token_was_refused_is_asked_again_but_not_at_once(clock, source):
    tokens = Tokens(clock, source)
    tokens(COMMAND)
    source.value = "two"
    tokens.refused(COMMAND)
    clock.now += AGAIN_S - 1
    assert tokens(COMMAND).reveal() == "one"
    clock.now += 1
    assert tokens(COMMAND).reveal() == "two"
    clock.now += 3600
    tokens(COMMAND)
    assert source.asked == 2


def test_a_command_that_failed_is_asked_again_but_not_at_once(clock, source):
    tokens = Tokens(clock, source)
    source.value = None
    for _ in range(5):
        with pytest.raises(SecretError, match="not signed in"):
            tokens(COMMAND)
    assert source.asked == 1
    source.value = "one"
    clock.now += AGAIN_S
    assert tokens(COMMAND).reveal() == "one"


def test_a_refusal_of_a_token_nobody_asked_for_is_nothing(clock, source):
    Tokens(clock, source).refused(COMMAND)
    assert source.asked == 0
