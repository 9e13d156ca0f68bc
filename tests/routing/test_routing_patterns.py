"""Patterns that could take for ever are told from those that cannot."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.routing.patterns import hazard

HARMLESS = [
    "", "a", "rag.*", "(foo|bar)+", r"[A-Z]\w+Query", r"(\w+\.)*predict", ".*foo.*bar.*baz.*", "(ab|ac)*", "(a|b)*c",
    "[a-z]+(-[a-z]+)*", r"\d{4}-\d{2}-\d{2}", r"(\d{4}\d{2})*", "([0-9a-f]{32},)*", "(?i)(foo|BAR)*", r"(\w)\1",
    "(?=.*a)(?!b).*", r"rag\.(query|rewrite).*", "(a++)+b", "(?>a+)b", r"(\d{1,3}\.){3}\d{1,3}", "(a|ab)*c",
    "(?:(?!foo).)*", r"\s*\w+\s*(,\s*\w+\s*)*", "(x)?(?(1)a|b)", r"(.*\n)*", "(a?)*", r"([a-z]{1,3}\d)+",
    r"\w+\.\w+\.\w+\.\w+\.\w+\.\w+", "(?i:a)|(?s:.)", "[^.]+(?:[.][^.]+)*", r"(\w|-|\d)*z", "(Ж|и)*", r"(\x41|B)*",
]  # fmt: skip
NESTED = [
    "(a+)+b", "(a*)*", "(a|a)*", r"(\w+\s?)*x", "(a+){10}b", "(a{1,30}){1,30}b",
    "(a?){30}a{30}", r"([a-z]+)*\d", r"(\d+|\w+)*!",
    "(?=(a+)+b).*", "(?!(a+)+b).*", "(a(b?|c?))*", "((a|b)+c?)*", "(a+?)+?b", "x*y*(a+)+", r"(\d+\.?)+\d", "((a+)++b)",
    "(?>(a+)+)b", "(x)?(?(1)(a+)+|b)",
]  # fmt: skip
AMBIGUOUS = [
    "(a|aa)+", "(.*a){12}", r"(\w_?)*", r"(.|\n|xy)*y", r"(?s)(.|\ny?)*x", "(?i)(ab|A|B)*c",
    r"(?:(\w)\1)*", r"(\w|ж)*(?:\w|жж)*", "([в-я]|[д-ж]z?)*x",
]  # fmt: skip


@pytest.mark.parametrize("pattern", HARMLESS)
def test_usual_patterns_raise_no_alarm(pattern):
    assert hazard(pattern) == ""


@pytest.mark.parametrize("pattern", NESTED)
def test_a_repeat_in_a_repeat(pattern):
    assert hazard(pattern) == "a repeat inside of a repeat can cut one text in ever more ways"


@pytest.mark.parametrize("pattern", AMBIGUOUS)
def test_a_repeated_part_that_is_read_in_two_ways(pattern):
    assert "two ways" in hazard(pattern)


@pytest.mark.parametrize("pattern", [".*.*.*.*x", r"\w+_\w+_\w+_\w+_\w+", "[a-z]{2,64}" * 15, ".*" * 300])
def test_many_repeats_in_a_row(pattern):
    assert "repeats in a row can share one text" in hazard(pattern)


def test_what_is_too_long_is_not_judged():
    assert hazard("a" * 1001) == "it is too long to be judged"
    assert hazard("((a{60}){60}){60}") == "it is too long to be judged"


def test_what_is_no_pattern():
    with pytest.raises(re.error):
        hazard("rag.(")


PARTS = st.recursive(
    st.sampled_from([*"ab.", "[ab]", "[^a]"]),
    lambda part: st.one_of(
        st.tuples(part, part).map("".join),
        st.tuples(part, part).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(part, st.sampled_from(["?", "*", "+", "{2}", "{1,2}"])).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    ),
    max_leaves=6,
)


@given(PARTS)
def test_a_loop_around_what_loops_already_is_always_told(part):
    assert hazard(f"(?:(?:{part})+a+)+") or hazard(f"(?:(?:{part})+)+")


@given(st.lists(st.text(string.ascii_letters, min_size=1, max_size=12), min_size=1, max_size=12))
def test_a_list_of_words_raises_none(words):
    assert hazard("|".join(words)) == ""
    assert hazard(f"(?:(?:{'|'.join(sorted(set(words)))})[.])*") == ""
