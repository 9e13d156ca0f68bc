"""What counts as right, and how sure a share of right answers is."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmroute.experiments.scoring import baseline, is_right, normal, percentile, wilson

COUNTS = st.integers(1, 100_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
TEXT = st.text(st.sampled_from("aAtheTn .,-!?3715'éß\u2212\n\""), max_size=12)
SAME = [
    ("The Fish Market.", "fish market"),
    ("  fish\n market ", "Fish Market!"),
    ("an apple a day", "apple day"),
    ("Straße", "STRASSE"),
    ("e\u0301te\u0301", "été"),
    ("1,000", "1000"),
    ("1,234,567.5", "1234567.5"),
    ("3.5.", "3.5"),
    (-5, "-5"),
    ("\N{MINUS SIGN}5", "-5"),
    (7, "7."),
    ("well-known", "well known"),
    ('"Rome"', "rome"),
    ("$5", "5"),
]
DIFFERENT = [
    ("3.5", "35"),
    ("-5", "5"),
    ("-.5", ".5"),
    ("\N{MINUS SIGN}5", "5"),
    ("1,00", "100"),
    ("1,0000", "10000"),
    ("theatre", "atre"),
    ("A", "The"),
    ("an", ""),
    ("?", "!"),
    ("", "a"),
    (None, ""),
    ("positive", "negative"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_answers_that_are_the_same(one, other):
    assert normal(one) == normal(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_answers_that_are_not(one, other):
    assert normal(one) != normal(other)


@given(TEXT)
def test_normal_is_final_and_says_nothing_about_case_and_space(text):
    assert normal(normal(text)) == normal(text)
    assert normal(f"  {text.upper()}\t") == normal(text.upper())


def test_an_answer_is_right_when_every_field_is():
    expected = {"item": "glass jars", "quantity": "64"}
    assert is_right(expected, {"item": "The glass jars", "quantity": 64, "more": "ignored"})
    assert not is_right(expected, {"item": "glass jars", "quantity": 65})
    assert not is_right(expected, {"item": "glass jars"})


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    # Wilson's score interval without continuity correction, z = 1.96, as statistics packages print it.
    [
        (0, 10, 0.0, 0.2775),
        (1, 10, 0.0179, 0.4042),
        (5, 10, 0.2366, 0.7634),
        (9, 10, 0.5958, 0.9821),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_the_tables(right, total, low, high):
    assert wilson(right, total) == pytest.approx((low, high), abs=6e-5)


def test_nothing_is_known_from_no_trial():
    assert wilson(0, 0) == (0.0, 1.0)


@given(COUNTS)
@example((0, 3))
@example((10, 10))
def test_wilson_surrounds_the_share_within_0_and_1(counts):
    right, total = counts
    low, high = wilson(right, total)
    assert 0 <= low <= right / total <= high <= 1
    assert low < high


@given(COUNTS)
def test_wilson_is_symmetric_and_narrower_with_more_trials(counts):
    right, total = counts
    low, high = wilson(right, total)
    assert wilson(total - right, total) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    more_low, more_high = wilson(10 * right, 10 * total)
    assert more_high - more_low < high - low


def test_the_baseline_is_the_most_frequent_answer_and_the_first_of_equals():
    labels = ["Positive", "negative", "positive.", "negative", "mixed"]
    assert baseline([{"label": label} for label in labels]) == (0.4, "positive")
    assert baseline([{"item": "a pen", "city": "Bern"}] * 3) == (1.0, "pen, bern")
    assert baseline([]) == (0.0, "")


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
def test_no_constant_answer_beats_the_baseline(labels):
    share, answer = baseline([{"label": f"x{label}"} for label in labels])
    assert share == max(labels.count(label) for label in "abc") / len(labels)
    assert labels.count(answer[1]) / len(labels) == share


def test_percentiles_are_values_that_occur():
    values = [5, 1, 4, 2, 3]
    assert [percentile(values, share) for share in (0, 0.2, 0.21, 0.5, 0.95, 1)] == [1, 1, 2, 3, 5, 5]
    assert percentile([], 0.5) == 0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
def test_at_least_that_share_lies_at_or_below_a_percentile(values, share):
    cut = percentile(values, share)
    assert cut in values
    assert sum(value <= cut for value in values) >= math.ceil(share * len(values))
    assert sum(value < cut for value in values) < share * len(values)
