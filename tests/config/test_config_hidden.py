"""Lines of a file are shown without what a suspect key holds, however it is written."""

import re

import yaml
from hypothesis import given
from hypothesis import strategies as st

from lmroute.config.secrecy import hidden_from

MARK = "S3cret"
plain = st.sampled_from(["id", "models", "max_tokens", "note", "a"])
suspect = st.sampled_from(["auth_token", "api_key", "password", "apiKey", "client_secret", "token", "env", "file"])
secret = st.builds(lambda start, rest: MARK.join([start, rest]), st.text("ab :#-{}'\"\n", max_size=9), st.text("xy \n"))
harmless = st.text("ab1 ", max_size=5) | st.integers() | st.booleans()
held = st.recursive(
    secret,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain | suspect, inner, max_size=3),
    max_leaves=5,
)
really_suspect = suspect.filter(lambda name: name not in {"env", "file"})
documents = st.recursive(
    st.dictionaries(plain, harmless, max_size=2),
    lambda inner: st.builds(
        lambda plain_part, hidden_part, order: dict(order.sample([*plain_part.items(), *hidden_part.items()],
                                                                 len(plain_part) + len(hidden_part))),
        st.dictionaries(plain, inner | st.lists(inner, max_size=2), max_size=3),
        st.dictionaries(really_suspect, held, max_size=2),
        st.randoms(use_true_random=False),
    ),
    max_leaves=8,
)  # fmt: skip


def visible(text):
    lines = text.split("\n")
    return "\n".join(line[:end] for line, end in zip(lines, hidden_from(lines), strict=True))


@given(
    documents, st.sampled_from([True, False, None]), st.integers(10, 200), st.sampled_from([None, "'", '"', "|", ">"])
)
def test_nothing_below_a_suspect_key_is_shown(document, flow, width, style):
    text = yaml.dump(document, default_flow_style=flow, width=width, default_style=style, sort_keys=False)

    assert MARK not in visible(text)


@given(st.dictionaries(plain, harmless | st.lists(harmless), max_size=4))
def test_what_is_not_suspect_is_shown_whole(document):
    text = yaml.dump(document)

    assert visible(text) == text


@given(st.text())
def test_any_text_has_an_end_for_each_of_its_lines(text):
    lines = re.split("\n", text)
    ends = hidden_from(lines)

    assert len(ends) == len(lines)
    assert all(0 <= end <= len(line) for line, end in zip(lines, ends, strict=True))


def test_lines_after_the_suspect_ones_are_shown_again():
    text = """\
auth_token:
  env: NAME
models: [a]
deeper:
  api_key: |
    abc

    def
  note: x
listed:
- token: abc
  more: x
- y
"""
    shown = visible(text).split("\n")

    assert "models: [a]" in shown
    assert "  note: x" in shown
    assert "  more: x" in shown
    assert "- y" in shown
    assert "abc" not in visible(text)
    assert "def" not in visible(text)


def test_a_reference_to_a_variable_is_shown_only_when_its_name_looks_like_one():
    assert visible("auth_token: {env: OPENAI_API_KEY}") == "auth_token: {env: OPENAI_API_KEY}"
    assert visible("auth_token: {env: AKIAIOSFODNN7EXAMPLE}") == "auth_token: "
    assert visible("auth_token: {env: A_B} # abc") == "auth_token: "
    assert visible("auth_token: {file: /run/secret}") == "auth_token: "
