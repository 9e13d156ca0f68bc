"""No known secret survives in a text, nothing that looks like a key does, and prose stays as it was."""

import base64
import html
import json
import string
import uuid
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lmroute import redact
from lmroute.model import Secret
from lmroute.redact import shapes
from lmroute.redact.fields import names_secret
from lmroute.redact.values import Known

TOKEN_CHARACTERS = string.ascii_letters + string.digits + string.punctuation.replace("*", "") + " "
SECRETS = st.text(TOKEN_CHARACTERS, min_size=6, max_size=40).filter(lambda s: s not in redact.PLACEHOLDERS)
TEXTS = st.text(max_size=60)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(redact, "_known", Known())


def forget():
    """For property tests, whose examples share a fixture."""
    redact._known = Known()


def encodings(secret):
    """How servers and libraries write what they were sent."""
    encoded, for_urls = (encode(secret.encode()).decode() for encode in (base64.b64encode, base64.urlsafe_b64encode))
    percent, in_json = quote(secret, safe=""), json.dumps(secret)[1:-1]
    return [
        secret,
        *(encoded, encoded.rstrip("="), quote(encoded, safe=""), for_urls, for_urls.rstrip("=")),
        *(percent, lower_hex(percent), quote(secret), quote_plus(secret), quote(percent, safe="")),
        *(in_json, json.dumps(in_json)[1:-1], in_json.replace("/", r"\/")),
        *("".join(map(written, secret)) for written in (as_escape, as_dotnet)),
        *(html.escape(secret), html.escape(secret).replace("&#x27;", "&#39;"), repr(secret)[1:-1]),
    ]


def lower_hex(percent):
    return "".join(c.lower() if percent[max(0, at - 2) : at].count("%") else c for at, c in enumerate(percent))


def as_escape(c):
    r"""What encoders do that escape all but letters and digits: ``\u002d``."""
    return c if c.isalnum() else f"\\u{ord(c):04x}" if c.isascii() else json.dumps(c)[1:-1]


def as_dotnet(c):
    r"""System.Text.Json's way: ``\u0022``, with upper-case digits."""
    return f"\\u{ord(c):04X}" if c in "\"'&<>+`" else json.dumps(c)[1:-1]


@given(SECRETS, st.data())
def test_a_remembered_value_survives_in_no_encoding(secret, data):
    forget()
    redact.remember(secret)
    pieces = data.draw(st.lists(st.one_of(TEXTS, st.sampled_from(encodings(secret))), max_size=6))
    shown = redact.text("".join(pieces))
    for form in encodings(secret):
        assert form not in shown


@given(st.lists(SECRETS, min_size=2, max_size=4), st.data())
def test_one_secret_inside_another_hides_neither(secrets, data):
    forget()
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


@given(SECRETS, st.binary(max_size=7), st.binary(max_size=7), st.booleans())
def test_a_remembered_value_survives_in_no_base64_of_more(secret, before, after, for_urls):
    """``Basic user:key`` is the everyday one. What remains tells two bytes of the value at most."""
    forget()
    redact.remember(secret)
    encode = base64.urlsafe_b64encode if for_urls else base64.b64encode
    decode = base64.urlsafe_b64decode if for_urls else base64.b64decode
    encoded = encode(before + secret.encode() + after).decode()
    shown = redact.text(encoded)
    assert "***" in shown
    masked = shown.replace("***", "A" * (len(encoded) - len(shown) + 3))
    assume(len(masked) == len(encoded) and "***" in shown and shown.count("***") == 1)
    left = decode(masked.rstrip("=") + "=" * (-len(masked.rstrip("=")) % 4))
    assert all(secret[at : at + 3].encode() not in left for at in range(len(secret) - 2) if secret[at : at + 3] != "\0")


@given(SECRETS.filter(lambda secret: not secret.endswith("\\")), TEXTS, TEXTS, st.integers(1, 2))
@example("000000", "\u00c0", "", 1)  # begins within an escape
@example("000000", "\x10", "", 2)
@example("name-of", "\n", "", 1)
@example('a\\b"c/d', '"', '"', 2)
def test_json_text_stays_json_text(secret, before, after, times):
    forget()
    redact.remember(secret)
    written = f"{before}{secret}{after}"
    for _ in range(times):
        written = json.dumps({"message": written})
    written = redact.text(written)
    for _ in range(times):
        written = json.loads(written)["message"]
    assert secret not in written


def test_an_escape_at_the_end_of_a_value_is_not_cut_in_two():
    redact.remember("abcde\\")
    assert json.loads(redact.text(json.dumps(['abcde"', "abcde\\", "abcde\n"]))) == ["***", "***", "***"]


@pytest.mark.parametrize("secret", ['pass\\word"12/3', "a b&c=d+e'f<g>", "naïve-päss🙂word"])
def test_odd_characters_survive_in_no_encoding(secret):
    redact.remember(secret)
    for form in encodings(secret):
        assert redact.text(f"<{form}>") == "<***>"


def test_the_oldest_are_forgotten_before_there_are_too_many(monkeypatch):
    monkeypatch.setattr("lmroute.redact.values._MOST", 40)
    values = [f"token-number-{number:04}" for number in range(50)]
    for value in values:
        redact.remember(value)
    assert redact.text(values[-1]) == "***"
    assert redact.text(values[0]) == values[0]
    assert len(redact._known._hunted) == 40


@pytest.mark.parametrize("known", ["abcdefg", "sk-abcd", "12345678", "efgh1234"])
def test_a_known_value_inside_a_key_does_not_spoil_its_shape(known):
    redact.remember(known)
    assert redact.text("key=sk-abcdefgh12345678.") == "key=***."


def test_a_shape_inside_a_known_value_does_not_spoil_the_value():
    redact.remember("pass sk-abcdefgh12345678 word")
    assert redact.text("(pass sk-abcdefgh12345678 word)") == "(***)"


@given(SECRETS, TEXTS, TEXTS)
def test_a_secret_in_json_text_survives_neither_there_nor_after_reading_it(secret, before, after):
    forget()
    redact.remember(secret)
    written = redact.text(json.dumps({"message": f"{before}{secret}{after}"}, ensure_ascii=False))
    assert secret not in written
    assert json.dumps(secret)[1:-1] not in written


@given(st.lists(SECRETS, max_size=3), TEXTS)
def test_redacting_twice_changes_nothing_more(secrets, text):
    forget()
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
    "github_pat_11ABCDEFG0123456789_abcdefghij",
    "hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567",
    "gsk_0123456789abcdefghijABCDEFGHIJ0123456789abcdefghijAB",
    "xai-0123456789abcdefghijABCDEFGHIJ0123456789",
    "csk-0123456789abcdefghij0123456789",
    "pplx-0123456789abcdefghij0123456789abcdef",
    "nvapi-0123456789abcdefghij_-0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "xoxb-012345678901-012345678901-AbCdEfGhIjKl",
    "glpat-0123456789abcdefghij",
    "r8_0123456789abcdefghijABCDEFGHIJ01234567",
    "tgp_v1_0123456789abcdefghijABCDEFGHIJ01234567",
    "lsv2_pt_0123456789abcdef0123456789abcdef_0123456789",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
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


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ("GET https://host/models?alt=sse&key=abcdef0123 HTTP/1.1", "GET https://host/models?alt=sse&key=*** HTTP/1.1"),
        ("https://host/?api_key=abcdef0123&x=1", "https://host/?api_key=***&x=1"),
        ("https://host/?access_token=abcdef0123", "https://host/?access_token=***"),
        ("https://me:hunter2@host/v1", "https://me:***@host/v1"),
        ("https://:hunter2@host:8080/v1", "https://:***@host:8080/v1"),
        ("Authorization: Basic bWU6aHVudGVyMg==", "Authorization: Basic ***"),
        ("{'Authorization': 'Bearer onlyletters'}", "{'Authorization': 'Bearer ***'}"),
        ("[(b'authorization', b'Token 0123abcd')]", "[(b'authorization', b'Token ***')]"),
        ("-H 'x-api-key: 0123456789abcdef'", "-H 'x-api-key: ***'"),
        ('{"api-key": "0123456789abcdef"}', '{"api-key": "***"}'),
        (r'"{\"api_key\": \"0123456789abcdef\"}"', r'"{\"api_key\": \"***\"}"'),
        ("OpenAI(api_key='0123456789abcdef', timeout=3)", "OpenAI(api_key='***', timeout=3)"),
        ("providers.openai.auth_token=hunter2hunter", "providers.openai.auth_token=***"),
        ("the bearer abcdef0123 was refused", "the bearer *** was refused"),
        ("a\\u2028sk-abcdefgh12345678", "a\\u2028***"),
        ("body=key%3Dsk-abcdefgh12345678", "body=key%3D***"),
    ],
)
def test_a_credential_is_known_by_what_stands_before_it(told, left):
    assert redact.text(told) == left
    assert redact.text(left) == left


@pytest.mark.parametrize("line_end", ["\n", "\\n"])
def test_a_private_key_is_masked_whole(line_end):
    lines = ["-----BEGIN RSA PRIVATE KEY-----", "MIIEowIBAAKCAQEA0123+/", "abcd==", "-----END RSA PRIVATE KEY-----"]
    assert redact.text(f'"{line_end.join(lines)}"') == '"***"'
    assert redact.text(f'"{line_end.join(lines[:2])}"') == '"***"'


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
    "use Bearer authentication, or Basic authentication; the Bearer token is missing",
    'WWW-Authenticate: Bearer realm="api"',
    "sk-learn-compatible estimators (scikit-learn)",
    "https://host/v1beta/models?key=API_KEY and ?key=$KEY and ?api_key={key} and ?token=<token>",
    "x-api-key: required; x-api-key: authentication",
    "api_key=None; api-key: $ANTHROPIC_API_KEY; auth_token: {env: OPENAI_API_KEY}",
    "auth_token={env:OPENAI_API_KEY} max_tokens=1234567 eos_token='</s>' first_token=1234567",
    "ssh://git@host/repository http://[::1]:8080/v1 mailto:me@host http://host/a:b@c",
    "policy local_first@1a2b3c4d, gpt-4.1-mini, claude-sonnet-4-5-20250929, meta-llama/Llama-3.3-70B-Instruct",
    "hf_hub_download, hf_transfer, ghp_, gsk_, r8_short, api_key_source, xai-grok, pplx-70b-online, nvapi-",
    "call_abc123DEF456ghi789JKL012 chatcmpl-9aBcDeFgHiJkLmNoPqRsTuVwXyZ12 resp_67ccd3a9da748190baa7f1570fe91ac6",
    "2026-10-12T07:00:00.123Z task-4-of-12 risk-averse-0123456789 desk-0123456789abc",
    "SmolLM2-135M-Instruct-Q4_1.gguf Qwen2.5-Coder-32B-Instruct-Q4_K_M.gguf text-embedding-nomic-embed-text-v1.5",
    "outputs/2026-10-12/07-00-00-123456/calls.jsonl /usr/lib/python3.11/site-packages/httpx/_client.py",
    "ASIA AKIA eyJ eyJhbGciOiJIUzI1NiJ9 is half a token, -----BEGIN CERTIFICATE-----",
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


@given(st.uuids(), st.binary(min_size=16, max_size=32), st.integers(0, 10**20))
def test_what_names_things_stays_as_it_was(identity, digest, number):
    forget()
    names = (
        str(identity),
        identity.hex,
        digest.hex(),
        f"sha256:{digest.hex()}",
        f"call_{number}",
        f"{number}-{number}",
    )
    for said in names:
        assert redact.text(said) == said


def test_every_shape_is_looked_for_only_where_its_guard_is():
    """A guard that a match does not hold would let a key through."""
    for guard, pattern in shapes._PATTERNS:
        mine = [key for key in [*KEYS, "?key=abcdef0123", "://:hunter2@", "bearer abcdef0123"] if pattern.search(key)]
        assert mine or guard == "uthorization"
        assert all(guard in key for key in mine)


SECRET_NAMES = [
    *("authorization", "Authorization", "Proxy-Authorization", "cookie", "Set-Cookie", "credentials", "private_key"),
    *("x-api-key", "X-API-Key", "api-key", "api_key", "apiKey", "APIKEY", "OPENAI_API_KEY", "x-goog-api-key"),
    *("token", "access_token", "accessToken", "refresh_token", "auth_token", "x-amz-security-token", "LM_API_TOKEN"),
    *("secret", "client_secret", "clientSecret", "password", "passwd", "db_password", "aws_secret_access_key"),
]
PLAIN_NAMES = [
    *("max_tokens", "prompt_tokens", "maxTokens", "token_count", "tokens", "first_token", "eos_token", "input_tokens"),
    *("model", "message", "signature", "author", "authored", "keyring", "keys", "key", "monkey", "tokenizer"),
    *("secretary", "cookiecutter", "passage", "compass", "rule", "provider", "fallback_from"),
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_that_names_a_secret_masks_its_value_whatever_that_looks_like(name):
    value = {"a": [{name: "plain words"}], "b": ({name: ["one", b"two"]},), "c": {name: {"x": "three"}}}
    assert redact.data(value) == {"a": [{name: "***"}], "b": ({name: ["***", b"***"]},), "c": {name: {"x": "***"}}}


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_other_names_mask_nothing(name):
    assert not names_secret(name)
    assert redact.data({name: "plain words"}) == {name: "plain words"}


@pytest.mark.parametrize("name", [*SECRET_NAMES, *PLAIN_NAMES])
@pytest.mark.parametrize("value", [7, 1.5, True, False, None, ""])
def test_what_is_no_text_is_no_secret(name, value):
    assert redact.data({name: value}) == {name: value}


@pytest.mark.parametrize(
    "ref",
    [
        {"env": "NAME"},
        {"env": ["A"], "optional": True},
        {"file": "~/x"},
        {"keyring": "me"},
        {"command": ["op", "read"]},
    ],
)
def test_a_reference_to_a_secret_is_shown_and_a_key_in_its_place_is_not(ref):
    assert redact.data({"auth_token": ref}) == {"auth_token": ref}
    assert redact.data({"auth_token": {"env": KEYS[0]}}) == {"auth_token": {"env": "***"}}


def test_a_piece_of_an_answer_is_no_token_of_the_secret_kind():
    logprobs = [{"token": " the", "logprob": -0.1, "top_logprobs": [{"token": " a", "logprob": -2.0}]}]
    assert redact.data(logprobs) == logprobs


def test_all_texts_of_data_go_through_the_other_nets_keys_of_dicts_too():
    value = "a-secret-of-this-test"
    redact.remember(value)
    found = redact.data({value: [KEYS[0], {value}, value.encode(), Secret("x")]})
    assert found == {"***": ["***", {"***"}, b"***", "***"]}


def test_header_pairs_are_known_in_data():
    assert redact.data([("Authorization", "x y"), (b"cookie", b"z"), ("accept", "*/*")]) == [
        ("Authorization", "***"),
        (b"cookie", b"***"),
        ("accept", "*/*"),
    ]


def test_data_that_contains_itself_comes_to_an_end():
    round_and_round = {"a": 1}
    round_and_round["again"] = round_and_round
    assert "***" in json.dumps(redact.data(round_and_round))


def test_what_cannot_tell_its_text_is_named_by_its_kind():
    class Mute:
        def __str__(self):
            raise RuntimeError("no")

    assert redact.data([Mute(), uuid.UUID(int=0)]) == ["<Mute>", str(uuid.UUID(int=0))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(PLAIN_NAMES), inner, max_size=3),
)


@given(JSON)
def test_data_without_secrets_stays_as_it_was(value):
    assert redact.data(value) == value


@pytest.mark.parametrize("kind", [dict, list, dict.items])
def test_headers(kind):
    given = {"Authorization": "x", "X-Vault-Token": "y", "Sec-Key": "z", "Accept": "*/*", "X-Echo": f"was {KEYS[0]}"}
    given = list(given.items()) if kind is list else kind(given)
    assert redact.headers(given) == {
        "authorization": "***",
        "x-vault-token": "***",
        "sec-key": "***",
        "accept": "*/*",
        "x-echo": "was ***",
    }
    assert redact.headers([(b"Cookie", b"a=b"), (b"Host", b"h")]) == {"cookie": "***", "host": "h"}
    assert redact.text(urlencode({"api_key": "0123abcd"})) == "api_key=***"
