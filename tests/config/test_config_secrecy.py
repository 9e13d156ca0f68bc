import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.config.secrecy import masked, names_secret, quoted, scrubbed


@pytest.mark.parametrize("key", ["api_key", "apiKey", "auth_token", "password", "client_secret", "x.token", "KEY"])
def test_names_of_secrets(key):
    assert names_secret(key)


@pytest.mark.parametrize("key", ["max_tokens", "prompt_tokens", "first_token_s", "input_per_mtok", "keyring", "models"])
def test_names_of_other_things(key):
    assert not names_secret(key)


@pytest.mark.parametrize(
    "override",
    [
        "providers.x.auth_token=abc",
        "+providers.x.api_key=abc",
        "providers.x={auth_token: abc}",
        "providers.x.endpoint=http://me:abc@host",
        "providers.x.endpoint=http://host?key=abc",
        "a=sk-abc",
    ],
)
def test_an_override_that_may_carry_a_secret_is_masked(override):
    assert "abc" not in masked(override)
    assert masked(override) == override.partition("=")[0] + "=***"


@pytest.mark.parametrize("override", ["seed=3", "provider=[a,b]", "~task", "providers.x.endpoint=http://host:1", "x"])
def test_other_overrides_are_shown_as_they_are(override):
    assert masked(override) == override


def test_somebody_elses_text_loses_what_came_from_a_secret_override():
    text = "Ambiguous value for argument 'a.api_key=x1,x2' and seed=7"
    assert scrubbed(text, ["a.api_key=x1,x2", "seed=7", "~a.api_key"]) == (
        "Ambiguous value for argument 'a.api_key=***' and seed=7"
    )


def test_values_are_quoted_short_and_containers_are_not_spelled_out():
    assert quoted("x") == '"x"'
    assert quoted(None) == "null"
    assert quoted(True) == "true"
    assert quoted({"api_key": "abc"}) == "a mapping"
    assert quoted(["abc"]) == "a list"
    assert len(quoted("y" * 500)) < 80


@given(st.text() | st.integers() | st.floats() | st.booleans())
def test_a_value_under_a_secret_name_is_never_shown(value):
    assert quoted(value, "providers", "auth_token", "env") == "the value"


@given(st.from_regex(r"[^/\s@\\\"]{1,9}", fullmatch=True))
def test_a_password_in_an_address_is_never_shown(word):
    assert quoted(f"http://me:{word}@host") == "the value"
