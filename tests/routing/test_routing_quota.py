"""The retry quota: a token bucket that an outage empties and successes fill."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import Failure
from lmroute.routing.quota import RetryQuota


def test_what_a_retry_costs():
    quota = RetryQuota()
    assert quota.tokens == 500
    assert quota.take(Failure.SERVER) == 14
    assert quota.take(Failure.RATE_LIMIT) == 5
    assert quota.tokens == 481


def test_a_success_gives_back_what_it_cost_or_one():
    quota = RetryQuota()
    paid = quota.take(Failure.TIMEOUT)
    quota.take(Failure.RATE_LIMIT)
    quota.succeeded(paid)
    assert quota.tokens == 495
    quota.succeeded()
    assert quota.tokens == 496


def test_an_outage_is_not_multiplied():
    """A hundred callers in threads, each wants three retries, none ever succeeds: 500 / 14 are made."""
    quota, start, made = RetryQuota(), threading.Barrier(20), []

    def call():
        start.wait()
        made.append(sum(bool(quota.take(Failure.TRANSPORT)) for _ in range(15)))

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == 35
    assert quota.tokens == 10
    assert quota.take(Failure.TRANSPORT) == 0
    assert quota.tokens == 10
    assert quota.take(Failure.RATE_LIMIT) == 5


@given(steps=st.lists(st.sampled_from([Failure.SERVER, Failure.RATE_LIMIT, None, "retried"])))
def test_it_never_runs_over_nor_into_debt(steps):
    quota, paid, retries, successes = RetryQuota(100), [], 0, 0
    for step in steps:
        if isinstance(step, Failure):
            cost = quota.take(step)
            paid += [cost] if cost else []
            retries += bool(cost)
        else:
            successes += 1
            quota.succeeded(paid.pop() if step and paid else 0)
        assert 0 <= quota.tokens <= 100
    assert retries <= 20 + 3 * successes
