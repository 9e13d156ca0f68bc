"""No known secret survives in a text, nothing that looks like a key does, and prose stays as it was."""

import base64
import json
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute import redact

TOKEN_CHARACTERS = string.ascii_letters + string.digits + string.punctuation.replace("*", "") + " "
SECRETS = st.text(TOKEN_CHARACTERS, min_size=6, max_size=40).filter(lambda s: s not in redact._PLACEHOLDERS)
TEXTS = st.text(max_size=60)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(redact, "_known", {})


def encodings(secret):
    encoded = base64.b64encode(secret.encode()).decode()
    return [secret, encoded, encoded.rstrip("="), quote(secret, safe=""), json.dumps(secret)[1:-1]]


@given(SECRETS, st.data())
def test_a_remembered_value_survives_in_no_encoding(secret, data):
    redact._known.clear()
    redact.remember(secret)
    pieces = data.draw(st.lists(st.one_of(TEXTS, st.sampled_from(encodings(secret))), max_size=6))
    shown = redact.text("".join(pieces))
    for form in encodings(secret):
        assert form not in shown


@given(st.lists(SECRETS, min_size=2, max_size=4), st.data())
def test_one_secret_inside_another_hides_neither(secrets, data):
    redact._known.clear()
    nested = [*secrets, secrets[0] + secrets[1]]
    for secret in data.draw(st.permutations(nested)):
        redact.remember(secret)
    shown = redact.text(" ".join(nested))
    assert not any(secret in shown for secret in nested)


def test_the_tail_of_a_longer_secret_does_not_survive_a_shorter_one():
    redact.remember("first-part")
    redact.remember("first-part-and-the-tail")
    assert redact.text("<first-part-and-the-tail> <first-part>") == "<***> <***>"


def test_overlapping_secrets_are_masked_from_the_first_to_the_last_letter():
    redact.remember("first-part")
    redact.remember("part-second")
    assert redact.text("<first-part-second>") == "<***>"


@pytest.mark.parametrize("known", ["abcdefg", "sk-abcd", "12345678", "efgh1234"])
def test_a_known_value_inside_a_key_does_not_spoil_its_shape(known):
    redact.remember(known)
    assert redact.text("key=sk-abcdefgh12345678.") == "key=***."


def test_a_shape_inside_a_known_value_does_not_spoil_the_value():
    redact.remember("pass sk-abcdefgh12345678 word")
    assert redact.text("(pass sk-abcdefgh12345678 word)") == "(***)"


@given(SECRETS, TEXTS, TEXTS)
def test_a_secret_in_json_text_survives_neither_there_nor_after_reading_it(secret, before, after):
    redact._known.clear()
    redact.remember(secret)
    written = redact.text(json.dumps({"message": f"{before}{secret}{after}"}, ensure_ascii=False))
    assert secret not in written
    assert json.dumps(secret)[1:-1] not in written


@given(st.lists(SECRETS, max_size=3), TEXTS)
def test_redacting_twice_changes_nothing_more(secrets, text):
    redact._known.clear()
    for secret in secrets:
        redact.remember(secret)
    once = redact.text(" ".join([text, *secrets]))
    assert redact.text(once) == once


KEYS = [
    "sk-abcdefgh12345678",
    "sk-proj-AbC_123-xyz987654321",
    "sk-ant-api03-AbCdEfGh_1234567890",
    "sk-or-v1-0123456789abcdef0123456789abcdef",
    "sk-lm-a1B2c3D4:abcdefghij0123456789",
    "sk-lm-a1B2c3D4:abcdefghij0123456789ABCDEF",
    "sk-lm-a1B2c3D4E5:short",
    "pk-lf-12345678-abcd",
    "rk-live_1234567890",
    "AIzaSyA1234567890_abcdefghij-KLMNOPQRST",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "gho_0123456789abcdefghij",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "around", ["{}", "key={}.", 'provided: "{}"', "a\n{}\nb", "({})", "Authorization: Bearer {}", "/{}/"]
)
def test_what_has_the_shape_of_a_key_is_masked_whole(key, around):
    shown = redact.text(around.format(key))
    assert "***" in shown
    assert all(part not in shown for part in (key[3:9], key[-5:]))


@pytest.mark.parametrize("key", KEYS)
def test_a_key_on_a_new_line_is_masked_in_json_text_too(key):
    written = redact.text(json.dumps({"message": f"said:\n{key}\tand\r\n{key}"}))
    assert json.loads(written) == {"message": "said:\n***\tand\r\n***"}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
@pytest.mark.parametrize("token", ["hunter2", "abc.def-ghi_jkl~mno+pqr/stu==", "lm-token:1234"])
def test_what_stands_in_an_authorization_header_is_masked(scheme, token):
    assert redact.text(f"sent Authorization: {scheme} {token}") == f"sent Authorization: {scheme} ***"


PROSE = [
    "",
    "connection refused",
    "risk-averse investors ask for task-specific sk-learn baselines",
    "LM Studio wants an API token (Developer > Server Settings > Manage Tokens)",
    "Authorization: Bearer $LM_API_TOKEN",
    "model 'qwen/qwen3-8b@q4_k_m' answered in 1.9 s; http://127.0.0.1:1234/v1/models",
    "Desk-based-research-and-brisk-walking",
    "AIzawa went home; ghp_short; sk-short",
    "日本語 naïve café — “quotes” 🙂",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
]


@pytest.mark.parametrize("prose", PROSE)
def test_ordinary_text_stays_as_it_was(prose):
    redact.remember("a-secret-of-this-test")
    assert redact.text(prose) == prose


WORDS = ["the", "model", "answered", "late", "because", "its", "window", "was", "full", "of", "tokens", "and", "risk-"]


@given(st.lists(st.sampled_from(WORDS)))
def test_words_stay_as_they_were(words):
    assert redact.text(" ".join(words)) == " ".join(words)


@pytest.mark.parametrize("short", ["", "a", "EMPTY", "12345"])
def test_what_is_too_short_to_protect_anything_is_not_hunted(short):
    redact.remember(short)
    assert redact.text(f"one {short} two EMPTY 12345") == f"one {short} two EMPTY 12345"


@pytest.mark.parametrize("placeholder", ["lm-studio", "lmstudio", "ollama"])
def test_a_placeholder_for_no_key_does_not_mask_the_names_of_providers(placeholder):
    redact.remember(placeholder)
    record = json.dumps({"provider": placeholder, "message": f"{placeholder}: refused"})
    assert redact.text(record) == record


def test_the_shortcut_knows_how_every_shape_begins():
    """``_HINTS`` saves the pattern for texts that may match; a shape it does not know would slip through."""
    for key in [*KEYS, "Bearer hunter2", "bearer hunter2"]:
        assert any(hint in key for hint in redact._HINTS)
        assert redact.text(key) != key
