"""When what was seen of a server is believed: hysteresis, staleness, throttling, and what calls tell."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.health import machine
from lmroute.health.evidence import LISTS_ONLY, assured, busy, counts, of_failure, of_probe
from lmroute.health.machine import UNKNOWN, Rules
from lmroute.health.status import Source
from lmroute.model import Failure
from lmroute.providers.inventory import Api, Inventory
from lmroute.providers.probe import SERVING, ErrorCode, ListedModel, ProbeResult, State
from lmroute.providers.probe.faults import KINDS

RULES = Rules(down_after=2, up_after=2, stale_s=60.0)
EPOCH = 1_800_000_000.0
MODELS = Inventory(Api.PLAIN, (ListedModel("m"),))
REFUSED = ErrorCode.CONNECTION_REFUSED
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


def fail(known, now, failure, retry_after_s=None, said=""):
    seen = of_failure(failure, began=now, ended=now, at=EPOCH + now, retry_after_s=retry_after_s, said=said)
    return machine.failed(known, seen, RULES, now)


def wait(known, now, *, began=None, calls=1):
    """A probe that is kept waiting by a server that so many calls keep busy."""
    began = now if began is None else began
    seen = of_probe(result(ErrorCode.TIMEOUT), began=began, ended=now, at=EPOCH + now, source=Source.PROBE)
    return machine.kept_waiting(known, busy(seen, calls), RULES, now)


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
        if before.state is State.UNKNOWN and known.state not in {*SERVING, State.UNKNOWN}:
            assert KINDS[code].tries == 1 or code is REFUSED or all(sick[-rules.down_after :])
        if before.state not in {*SERVING, State.DOWN}:
            assert known.state is (KINDS[code].state if code else State.HEALTHY) or KINDS[code].tries > 1
        if len(sick) >= rules.down_after and all(sick[-rules.down_after :]):
            assert known.state not in {*SERVING, State.UNKNOWN}
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


@pytest.mark.parametrize("code", [REFUSED, *DEFINITE])
def test_the_first_that_is_seen_is_told_at_once(code):
    status = told(after(code), 0.0)
    assert (status.state, status.error_code, status.message) == (KINDS[code].state, code, f"it is {code}")
    assert status.last_checked == status.since == EPOCH


@pytest.mark.parametrize("start", [UNKNOWN, after(None)], ids=["never seen", "stale"])
@pytest.mark.parametrize("code", [code for code in PASSING if code is not REFUSED])
def test_one_hiccup_of_a_server_of_which_nothing_is_known_is_told_and_not_believed(code, start):
    known = probe(start, 500.0, code)
    status = told(known, 500.0)
    assert (status.state, status.error_code, status.message) == (State.UNKNOWN, code, f"it is {code}")
    assert (status.fix, status.last_checked) == ("do this", EPOCH + 500)
    assert known.in_doubt
    assert told(probe(known, 501.0), 501.0).state is State.HEALTHY
    assert told(probe(known, 501.0, code), 501.0).state is State.DOWN


def test_two_hiccups_far_apart_are_not_two_in_a_row():
    known = probe(after(ErrorCode.TIMEOUT), 61.0, ErrorCode.TIMEOUT)
    assert told(known, 61.0).state is State.UNKNOWN
    status = told(known, 500.0)
    assert (status.state, status.error_code) == (State.UNKNOWN, None)


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
    known = after(REFUSED, None)
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


@pytest.mark.parametrize("code", sorted(LISTS_ONLY - {ErrorCode.NO_LIST}))
def test_a_complaint_about_the_list_stays_as_a_remark_when_calls_are_answered(code):
    known = answer(after(code), 5.0)
    for later in (known, probe(known, 6.0, code), answer(probe(known, 6.0, code), 7.0)):
        status = told(later, 8.0)
        assert (status.state, status.message) == (State.DEGRADED, f"it is {code}")


@pytest.mark.parametrize("code", sorted(LISTS_ONLY - {ErrorCode.NO_LIST, ErrorCode.WRONG_TYPE}))
def test_a_list_that_was_never_there_does_not_count_against_a_server_that_answers_calls(code):
    known = probe(answer(UNKNOWN, 1.0), 2.0, code)
    states = [told(known, 2.0).state]
    for now in range(3, 20):
        known = answer(known, float(now)) if now % 3 else probe(known, float(now), code)
        states.append(told(known, float(now)).state)
    assert set(states) == {State.DEGRADED}
    assert machine.is_settled(known)
    assert told(probe(fail(known, 20.0, Failure.BAD_REPLY), 21.0, code), 21.0).state is State.MISCONFIGURED
    assert told(probe(known, 200.0, code), 200.0).state is State.MISCONFIGURED


@pytest.mark.parametrize("code", [ErrorCode.NOT_FOUND, ErrorCode.NOT_JSON, ErrorCode.PROTOCOL_ERROR])
def test_who_answers_calls_without_a_list_is_advised_to_name_its_models(code):
    for known in (probe(answer(UNKNOWN, 1.0), 2.0, code), answer(after(code), 2.0)):
        assert "name them in the models of its profile" in told(known, 2.0).fix


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
    assert status.fix
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
    assert told(probe(known, 2.0), 2.0).state is State.DEGRADED


PASSING_FAILURES = [Failure.TRANSPORT, Failure.TIMEOUT, Failure.SERVER, Failure.BAD_REPLY]


@pytest.mark.parametrize("start", [UNKNOWN, after(None), answer(UNKNOWN, 0.0)], ids=["unknown", "probed", "answered"])
@pytest.mark.parametrize("failure", PASSING_FAILURES)
def test_a_server_whose_calls_all_fail_is_not_healthy_however_fine_its_list(failure, start):
    """Whatever it was before: what calls complain of is only taken back by a call."""
    known = start
    for now in range(1, 40, 2):
        known = probe(fail(known, float(now), failure, said="HTTP 500: out of memory"), now + 1.0)
        status = told(known, now + 1.0)
        assert (status.state, status.source) == (State.DEGRADED, Source.CALL)
        assert status.message.endswith(": HTTP 500: out of memory")
        assert status.fix
        assert status.models == ("m",)
    assert told(probe(known, 50.0), 50.0).state is State.DEGRADED
    assert told(answer(known, 51.0), 51.0).state is State.HEALTHY
    assert told(probe(known, 101.0), 101.0).state is State.HEALTHY


steps = st.lists(st.sampled_from(["good", "answer", "doubt", ErrorCode.TIMEOUT, "wait"]), max_size=30)


@given(steps)
def test_a_complaint_of_a_call_stands_until_a_call_is_answered(steps):
    """Never healthy between a call that failed and one that is answered."""
    known, is_doubted = UNKNOWN, False
    for at, step in enumerate(steps):
        now = float(at)
        if step == "answer":
            known, is_doubted = answer(known, now), False
        elif step == "doubt":
            is_doubted = is_doubted or not machine.is_sunk(known)
            known = known if machine.is_sunk(known) else fail(known, now, Failure.SERVER)
        elif step == "wait":
            known = wait(known, now)
        else:
            known = probe(known, now, None if step == "good" else step)
        if is_doubted and step != "doubt":
            assert told(known, now).state is not State.HEALTHY
        if is_doubted and step == "good":
            assert told(known, now).state in {State.DEGRADED, State.DOWN}


def test_who_was_down_for_calls_and_probes_alike_is_well_when_it_is_back():
    known = probe(fail(after(None), 1.0, Failure.TRANSPORT), 2.0, REFUSED)
    assert told(known, 2.0).state is State.DOWN
    assert told(probe(probe(known, 3.0), 4.0), 4.0).state is State.HEALTHY


@pytest.mark.parametrize("start", [UNKNOWN, after(None), after(ErrorCode.SERVER_ERROR)], ids=["new", "well", "suspect"])
def test_a_server_that_is_busy_with_calls_is_late_and_not_down(start):
    known = start
    for now in range(2, 20):
        known = wait(known, float(now), calls=now)
        status = told(known, float(now))
        assert (status.state, status.error_code) == (State.DEGRADED, ErrorCode.TIMEOUT)
        assert f"while {now} calls are under way" in status.message
        assert status.fix
    assert told(probe(known, 20.0), 20.0).state is State.HEALTHY
    known = answer(known, 21.0)
    assert told(known, 21.0).state is State.HEALTHY
    assert told(probe(probe(known, 22.0, ErrorCode.TIMEOUT), 23.0, ErrorCode.TIMEOUT), 23.0).state is State.DOWN


def test_being_busy_takes_nothing_back_and_saves_no_server_whose_calls_fail():
    for known in (after(REFUSED), after(ErrorCode.TOKEN_REFUSED)):
        assert wait(known, 1.0) == known
    known = wait(fail(after(None), 1.0, Failure.TIMEOUT), 2.0)
    assert told(fail(known, 3.0, Failure.TIMEOUT), 3.0).state is State.DOWN
    known = answer(after(None), 5.0)
    assert wait(known, 6.0, began=4.0) == known


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
    status = told(after(REFUSED), 500.0)
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
    data = told(after(REFUSED), 0.0).as_data()
    assert {name: data[name] for name in ("provider", "state", "lastChecked", "errorCode", "source")} == {
        "provider": "p",
        "state": "down",
        "lastChecked": "2027-01-15T08:00:00.000Z",
        "errorCode": "connection_refused",
        "source": "probe",
    }
    assert [phase["name"] for phase in data["phases"]] == ["dns", "connect", "tls", "auth", "list", "model"]
