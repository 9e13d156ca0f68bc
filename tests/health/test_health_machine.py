"""When what was seen of a server is believed: hysteresis, staleness, throttling, and what calls tell."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.health import machine
from lmroute.health.evidence import ABOUT_THE_LIST, assured, counts, of_failure, of_probe
from lmroute.health.machine import UNKNOWN, Rules
from lmroute.health.status import Source
from lmroute.model import Failure
from lmroute.providers.inventory import Api, Inventory
from lmroute.providers.probe import SERVING, ErrorCode, ListedModel, ProbeResult, State
from lmroute.providers.probe.faults import KINDS

RULES = Rules(down_after=2, up_after=2, stale_s=60.0)
EPOCH = 1_800_000_000.0
MODELS = Inventory(Api.PLAIN, (ListedModel("m"),))
PASSING = [code for code, kind in KINDS.items() if kind.tries > 1 and kind.state not in SERVING]
DEFINITE = [
    code for code, kind in KINDS.items() if kind.tries == 1 and kind.state not in {*SERVING, "throttled", "unknown"}
]


def result(code=None, **fields):
    if code is None:
        return ProbeResult("p", State.HEALTHY, inventory=MODELS)
    return ProbeResult("p", KINDS[code].state, code, f"it is {code}", "do this", **fields)


def probe(known, now, code=None, *, began=None, rules=RULES, source=Source.PROBE, **fields):
    began = now if began is None else began
    seen = of_probe(result(code, **fields), began=began, ended=now, at=EPOCH + now, source=source)
    return machine.probed(known, seen, rules, now)


def answer(known, now, *, began=None):
    seen = assured(began=now if began is None else began, ended=now, at=EPOCH + now)
    return machine.answered(known, seen, RULES, now)


def fail(known, now, failure, retry_after_s=None):
    seen = of_failure(failure, began=now, ended=now, at=EPOCH + now, retry_after_s=retry_after_s)
    return machine.failed(known, seen, RULES, now)


def told(known, now, rules=RULES):
    return machine.status("p", known, rules, now)


def after(*codes, start=UNKNOWN):
    """What is known after probes at 0, 1, 2 ... seconds; ``None`` is a good one."""
    return reduce(lambda known, step: probe(known, float(step[0]), step[1]), enumerate(codes), start)


codes = st.sampled_from([None, None, ErrorCode.MODEL_LOADING, *PASSING, *DEFINITE])
rules = st.builds(Rules, st.integers(1, 4), st.integers(1, 4), st.just(60.0))


@given(st.lists(codes, max_size=40), rules)
def test_what_is_told_obeys_the_hysteresis(seen, rules):
    known = UNKNOWN
    for now, code in enumerate(seen):
        before, known = known, probe(known, float(now), code, rules=rules)
        sick = [c is not None and KINDS[c].state not in SERVING for c in seen[: now + 1]]
        if before.state in SERVING and known.state not in SERVING:
            assert KINDS[code].tries == 1 or all(sick[-rules.down_after :])
        if before.state is State.DOWN and known.state in SERVING:
            assert not any(sick[-rules.up_after :])
            assert now + 1 >= rules.up_after
        if before.state not in {*SERVING, State.DOWN}:
            assert known.state is (KINDS[code].state if code else State.HEALTHY) or KINDS[code].tries > 1
        if len(sick) >= rules.down_after and all(sick[-rules.down_after :]):
            assert known.state not in SERVING
        if len(sick) >= rules.up_after and not any(sick[-rules.up_after :]):
            assert known.state in SERVING


@given(st.lists(codes, min_size=1, max_size=12), st.sampled_from(["probe", "answer", "fail"]), st.floats(0.1, 1e9))
def test_what_is_old_is_unknown_and_never_down(seen, last, later):
    known = after(*seen)
    now = float(len(seen))
    known = {"probe": probe, "answer": answer}[last](known, now) if last != "fail" else fail(known, now, Failure.SERVER)
    status = told(known, now + RULES.stale_s + later)
    assert status.state is State.UNKNOWN
    assert status.last_checked == told(known, now).last_checked
    assert status.error_code is None


@pytest.mark.parametrize("code", [*PASSING, *DEFINITE])
def test_the_first_that_is_seen_is_told_at_once(code):
    status = told(after(code), 0.0)
    assert (status.state, status.error_code, status.message) == (KINDS[code].state, code, f"it is {code}")
    assert status.last_checked == status.since == EPOCH


@pytest.mark.parametrize("code", PASSING)
def test_one_failure_that_may_pass_is_not_believed_and_not_counted_as_a_check(code):
    known = after(None, code)
    assert told(known, 1.0).state is State.HEALTHY
    assert told(known, 1.0).last_checked == EPOCH
    assert known.in_doubt
    assert told(probe(known, 2.0, code), 2.0).state is State.DOWN


@pytest.mark.parametrize("code", DEFINITE)
def test_a_failure_that_will_not_pass_is_believed_at_once(code):
    assert told(after(None, code), 1.0).state is KINDS[code].state


def test_one_good_probe_does_not_end_being_down():
    known = after(ErrorCode.TIMEOUT, None)
    assert told(known, 1.0).state is State.DOWN
    assert told(probe(known, 2.0), 2.0).state is State.HEALTHY


def test_a_state_began_when_it_was_first_seen():
    known = after(None, None, ErrorCode.MODEL_LOADING, ErrorCode.MODEL_LOADING)
    assert told(known, 9.0).since == EPOCH + 2
    assert told(known, 9.0).last_checked == EPOCH + 3


def test_models_and_phases_are_those_of_the_probe():
    assert told(after(None), 0.0).models == ("m",)


@given(st.lists(codes, max_size=12), st.floats(0, 100))
def test_a_call_that_was_answered_makes_it_serve_at_once(seen, later):
    now = len(seen) + later
    status = told(answer(after(*seen), now), now)
    assert status.state in SERVING
    assert status.last_checked == EPOCH + now
    assert status.source is Source.CALL


@pytest.mark.parametrize("code", [*PASSING, *DEFINITE])
def test_a_probe_that_began_before_a_call_was_answered_does_not_count_against_it(code):
    known = answer(after(None), 5.0)
    known = probe(known, 6.0, code, began=4.0)
    assert told(known, 6.0).state is State.HEALTHY
    assert not known.in_doubt


@pytest.mark.parametrize("code", sorted(ABOUT_THE_LIST - {ErrorCode.NO_LIST}))
def test_a_complaint_about_the_list_stays_as_a_remark_when_calls_are_answered(code):
    known = answer(after(code), 5.0)
    for later in (known, probe(known, 6.0, code), answer(probe(known, 6.0, code), 7.0)):
        status = told(later, 8.0)
        assert (status.state, status.message) == (State.DEGRADED, f"it is {code}")


@pytest.mark.parametrize("code", [ErrorCode.TIMEOUT, ErrorCode.TOKEN_REFUSED, ErrorCode.NOT_FOUND])
def test_what_a_call_disproved_is_a_remark_until_a_call_fails(code):
    known = answer(after(code), 5.0)
    for now in range(6, 12):
        known = probe(known, float(now), code)
        assert told(known, float(now)).state is State.DEGRADED
    known = fail(known, 12.0, Failure.TRANSPORT)
    known = probe(probe(known, 13.0, code), 14.0, code)
    assert told(known, 14.0).state is KINDS[code].state


def test_what_a_call_disproved_long_ago_counts_again():
    known = answer(after(ErrorCode.TOKEN_REFUSED), 5.0)
    assert told(probe(known, 500.0, ErrorCode.TOKEN_REFUSED), 500.0).state is State.AUTH


def test_a_good_probe_ends_what_a_call_disproved():
    known = probe(answer(after(ErrorCode.TOKEN_REFUSED), 5.0), 6.0)
    assert told(probe(known, 7.0, ErrorCode.TOKEN_REFUSED), 7.0).state is State.AUTH


@pytest.mark.parametrize("failure", [failure for failure in Failure if counts(failure)])
def test_a_call_that_fails_tells_what_is_wrong(failure):
    known = fail(fail(after(None), 1.0, failure), 2.0, failure)
    status = told(known, 2.0)
    assert status.state not in {State.HEALTHY, State.UNKNOWN}
    assert status.error_code is not None
    assert status.message
    assert status.source is Source.CALL


def test_a_failure_of_the_request_tells_nothing_of_the_server():
    assert [failure for failure in Failure if not counts(failure)] == [
        Failure.UNSUPPORTED_FEATURE,
        Failure.CONTEXT_LENGTH,
        Failure.INVALID_REQUEST,
        Failure.GUARANTEE,
    ]


def test_a_call_that_fails_counts_as_one_sick_observation():
    known = fail(after(None), 1.0, Failure.TIMEOUT)
    assert told(known, 1.0).state is State.HEALTHY
    assert told(probe(known, 2.0, ErrorCode.TIMEOUT), 2.0).state is State.DOWN
    assert told(fail(known, 2.0, Failure.SERVER), 2.0).state is State.DOWN
    assert told(probe(known, 2.0), 2.0).state is State.HEALTHY


def test_what_calls_complained_of_stays_as_a_remark_when_probes_find_it_well():
    known = fail(fail(after(None), 1.0, Failure.SERVER), 2.0, Failure.SERVER)
    known = probe(probe(known, 3.0), 4.0)
    status = told(known, 4.0)
    assert (status.state, status.error_code) == (State.DEGRADED, ErrorCode.SERVER_ERROR)
    assert told(probe(known, 30.0), 30.0).state is State.DEGRADED
    assert told(answer(known, 5.0), 5.0).state is State.HEALTHY
    assert told(probe(probe(known, 40.0), 63.0), 63.0).state is State.HEALTHY


def test_a_token_that_calls_were_refused_for_is_not_made_good_by_a_list_that_needs_none():
    known = fail(after(None), 1.0, Failure.AUTH)
    assert told(probe(known, 2.0), 2.0).state is State.AUTH
    assert told(probe(known, 62.0), 62.0).state is State.HEALTHY


def test_throttled_lasts_as_long_as_the_server_asked_for_whatever_probes_find():
    known = fail(after(None), 1.0, Failure.RATE_LIMIT, retry_after_s=30.0)
    assert told(known, 1.0).state is State.THROTTLED
    known = probe(known, 20.0)
    assert told(known, 30.9).state is State.THROTTLED
    assert told(known, 30.9).since == EPOCH + 1
    assert told(known, 31.0).state is State.HEALTHY
    assert told(known, 31.0).last_checked == EPOCH + 20


def test_throttled_is_over_when_a_call_is_answered_that_began_later():
    known = fail(after(None), 1.0, Failure.RATE_LIMIT, retry_after_s=30.0)
    assert told(answer(known, 3.0, began=0.5), 3.0).state is State.THROTTLED
    assert told(answer(known, 3.0, began=2.0), 3.0).state is State.HEALTHY


def test_a_probe_that_was_throttled_is_taken_back_by_one_that_was_not():
    known = probe(after(None), 1.0, ErrorCode.RATE_LIMITED, retry_after_s=30.0)
    assert told(known, 2.0).state is State.THROTTLED
    assert told(probe(known, 5.0), 5.0).state is State.HEALTHY


def test_a_server_of_which_only_a_pause_is_known_is_unknown_when_that_is_over():
    known = probe(UNKNOWN, 1.0, ErrorCode.RATE_LIMITED, retry_after_s=30.0)
    assert told(known, 30.0).state is State.THROTTLED
    assert (told(known, 31.0).state, told(known, 31.0).last_checked) == (State.UNKNOWN, EPOCH + 1)


def test_a_server_that_is_down_is_down_though_it_was_throttled():
    known = probe(UNKNOWN, 0.0, ErrorCode.RATE_LIMITED, retry_after_s=300.0)
    known = probe(known, 1.0, ErrorCode.CONNECTION_REFUSED)
    assert told(known, 1.0).state is State.DOWN


def test_a_probe_that_cannot_tell_takes_nothing_back():
    known = probe(UNKNOWN, 0.0, ErrorCode.NO_LIST)
    assert (told(known, 0.0).state, told(known, 0.0).error_code) == (State.UNKNOWN, ErrorCode.NO_LIST)
    known = probe(answer(known, 1.0), 2.0, ErrorCode.NO_LIST)
    assert told(known, 2.0).state is State.HEALTHY


def test_the_age_of_what_is_unknown_by_now_is_told():
    status = told(after(ErrorCode.TIMEOUT), 500.0)
    assert status.message == "it was down when it was last seen; nothing was heard of it since"
    assert (status.last_checked, status.since) == (EPOCH, EPOCH + RULES.stale_s)


@given(st.lists(st.tuples(codes, st.floats(0.1, 50)), max_size=20))
def test_it_tells_when_it_changes_by_itself(steps):
    known, now = UNKNOWN, 0.0
    for code, later in steps:
        now += later
        known = probe(known, now, code)
    at = machine.changes_at(known, RULES)
    state = told(known, now).state
    if at == float("inf"):
        assert state is State.UNKNOWN
    else:
        assert told(known, max(now, at - 0.001)).state is state
        assert told(known, at + 0.001).state is not state


def test_the_products_names_go_out_as_json():
    data = told(after(ErrorCode.TIMEOUT), 0.0).as_data()
    assert {name: data[name] for name in ("provider", "state", "lastChecked", "errorCode", "source")} == {
        "provider": "p",
        "state": "down",
        "lastChecked": "2027-01-15T08:00:00.000Z",
        "errorCode": "timeout",
        "source": "probe",
    }
    assert [phase["name"] for phase in data["phases"]] == ["dns", "connect", "tls", "auth", "list", "model"]
