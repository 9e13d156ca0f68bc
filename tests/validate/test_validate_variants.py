"""A derived composition is the one that Hydra would have made."""

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lmroute.config import compose as composing
from lmroute.config.compose import compose
from lmroute.errors import ConfigError
from lmroute.validate import variants
from lmroute.validate.files import discover
from lmroute.validate.pipeline import judge
from lmroute.validate.sampling import sample
from lmroute.validate.variants import Variants, is_plain

OPTIONS = [choice for choice in sample(discover()) if choice.option]


@pytest.fixture
def hydra(monkeypatch):
    """The overrides that Hydra was asked to compose."""
    asked = []

    def compose(overrides):
        asked.append(tuple(overrides))
        return composing.compose(overrides)

    monkeypatch.setattr(variants, "compose", compose)
    return asked


def derived(option, overrides, base=()):
    return Variants(compose(base), discover()).of(option, overrides)


def same(one, other):
    """Whether two compositions cannot be told apart, their order of keys and the places of all findings included."""
    parts = [
        (repr(c.document), c.document, c.written, dict(c.faults), c.overrides, c.trace, [*map(repr, judge(c))])
        for c in (one, other)
    ]
    assert parts[0] == parts[1]


def option(group, name):
    return next(file for file in discover() if (file.group, file.name) == (group, name))


@pytest.mark.parametrize("choice", OPTIONS, ids=lambda choice: " ".join(choice.overrides))
def test_for_every_option_of_ours(choice, hydra):
    same(derived(choice.option, choice.overrides), compose(choice.overrides))
    assert hydra == ([] if is_plain(choice.option) else [choice.overrides])


def test_most_of_ours_are_plain():
    assert [choice.option.group for choice in OPTIONS if not is_plain(choice.option)] == ["experiment"]


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8) | st.sampled_from(
    ["???", "${seed}", "${.type}", "${..embedded.id}", "${nowhere}", "${oc.env:LMROUTE_NO_SUCH}", "${", "\\${seed}",
     "a ${seed}", "${task.name}", "on", "1e3", "0x1f", "12:30", "2001-01-01", "null", "~", "<<"]
)  # fmt: skip
SCALARS = TEXTS | st.none() | st.booleans() | st.integers() | st.floats()
KEYS = st.sampled_from(
    ["id", "type", "models", "endpoint", "name", "rules", "use", "adapter", "tags", "_target_", "on", "1"]
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | TEXTS, inner, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(KEYS | TEXTS, DATA, max_size=6)


@st.composite
def files(draw):
    """A group and a file of it, most of them plain."""
    group = draw(st.sampled_from(["provider", "routing", "task", "adapter"]))
    usual = {"provider": "# @package providers.mine\n", "adapter": "# @package _global_\n"}.get(group, "")
    header = draw(st.just(usual) | st.sampled_from(
        ["", "# @package providers.other\n", "# @package _group_\n", "# @package routing\n# @package task\n",
         "# hello\n", "# @package providers\n", "# @package _global_\n", "\n  # @package task\n",
         "# @package _global_.adapter\n"]
    ))  # fmt: skip
    body = draw(BODIES | st.fixed_dictionaries({"adapter": DATA}) if group == "adapter" else BODIES)
    return group, header + yaml.safe_dump(body, allow_unicode=True)


# An example is three compositions, too slow to shrink one.
@pytest.mark.slow
@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(file=files())
def test_for_any_file(file, overlay):
    group, text = file
    overlay(**{f"{kind}__mine": "" for kind in ("provider", "routing", "task", "adapter")})
    overlay(**{f"{group}__mine": text})
    overrides = (f"{group}=mine",)
    expected, found = outcome(lambda: compose(overrides)), outcome(lambda: derived(option(group, "mine"), overrides))
    if isinstance(expected, tuple):
        assert found == expected
    else:
        same(found, expected)


def outcome(make):
    """A composition, or the findings that keep it from being one."""
    try:
        return make()
    except ConfigError as error:
        return error.diagnostics
