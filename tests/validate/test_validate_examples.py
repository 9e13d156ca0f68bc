"""Every row of the table has a bad example that shows it and nothing else, and a good one that shows nothing."""

import pytest

from lmroute.validate.explain import EXAMPLES, example
from lmroute.validate.table import RULES

OFFLINE = [code for code in RULES if not code.startswith("LMR5")]


@pytest.mark.parametrize("code", OFFLINE)
def test_the_bad_example_shows_the_rule_and_the_good_one_nothing(code):
    bad, good = example(code, "bad"), example(code, "good")

    assert {finding.code for finding in bad.check().diagnostics} == {code}
    assert good.check().diagnostics == ()


@pytest.mark.parametrize("code", OFFLINE)
def test_an_example_is_short_enough_to_read(code):
    for kind in ("bad", "good"):
        texts = example(code, kind).files.values()
        assert sum(text.count("\n") for text in texts) <= 12
        assert all(len(line) <= 100 for text in texts for line in text.splitlines())


def test_no_example_is_without_its_rule():
    assert sorted(folder.name for folder in EXAMPLES.iterdir()) == OFFLINE
    assert {kind.name for folder in EXAMPLES.iterdir() for kind in folder.iterdir()} == {"bad", "good"}
