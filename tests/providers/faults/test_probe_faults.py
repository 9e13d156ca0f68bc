"""Whatever a server or a network does, a probe ends, and says what it was and what to do."""

import socket
import struct
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmroute import redact
from lmroute.emulator.running import running
from lmroute.errors import MissingExtra, SecretError
from lmroute.model import Locality, Profile, Secret, SecretRef, SecretSource
from lmroute.providers.addresses import AddressRefused
from lmroute.providers.http import Reply
from lmroute.providers.probe import ErrorCode, Outcome, Patience, State, probe
from lmroute.providers.probe.diagnosis import of_error, of_reply
from lmroute.providers.probe.faults import KINDS

AMPLE = Patience(total_s=30.0, pause_s=0.001)
SHORT = Patience(total_s=0.2, pause_s=0.001)
"""For servers that never answer: it runs out on any machine."""

KEY = "sk-SENTINEL-0123456789abcdef"
REF = SecretRef(SecretSource.ENV, ("LMROUTE_TEST_TOKEN",))
LIST = {"object": "list", "data": [{"id": "tern-3b"}]}


def profile(url, **fields):
    return Profile(
        **{"id": "box", "type": "openai_compatible", "endpoint": url, "locality": Locality.LOOPBACK} | fields
    )


def examine(result):
    """What holds for every result: a state, and where something is wrong, words that may be shown and that help."""
    assert [phase.name for phase in result.phases] == ["dns", "connect", "tls", "auth", "list", "model"]
    assert all(phase.ms >= 0 for phase in result.phases)
    assert (result.error_code is None) == (result.state is State.HEALTHY) == (result.message == "")
    shown = result.message + result.fix
    assert shown.isprintable()
    assert "SENTINEL" not in shown
    assert len(result.message) < 300
    assert "{" not in result.fix.replace("{env: NAME}", "")
    if result.error_code not in {None, ErrorCode.NO_LIST}:
        assert result.fix
    return result


def failed_in(result):
    return [phase.name for phase in result.phases if phase.outcome is Outcome.FAILED]


DOWN, WRONG = State.DOWN, State.MISCONFIGURED


def test_a_fault_is_named(serve, fault):
    raw, state, code, tries, phase, words = fault
    server = serve(raw)
    result = examine(probe(profile(server.url, auth_token=REF), patience=AMPLE))
    assert (result.state, result.error_code, result.tries) == (state, code, tries)
    assert failed_in(result) == [phase]
    assert words in result.message
    assert result.message.startswith(f"{server.url}/v1: ")
    assert len(server.heads) == tries


def test_a_server_cannot_write_on_the_terminal(serve, answer):
    said = {"error": {"message": "\x1b[31mred\x07\r\nnext\u202e line \ud800"}}
    result = examine(probe(profile(serve(answer(said, "401 Unauthorized")).url), patience=AMPLE))
    assert result.message.endswith("HTTP 401: [31mred next line")


def test_a_redirect_is_shown_without_its_query(serve, answer):
    target = "http://portal.example/login?session=abc"
    result = probe(profile(serve(answer(b"", "302 Found", f"Location: {target}")).url), patience=AMPLE)
    assert result.message.endswith("a redirect to http://portal.example/login")


@pytest.mark.parametrize("kind", ["openai", "openrouter", "anthropic", "gemini", "vllm", "ollama", "llamacpp"])
@pytest.mark.parametrize("name", ["401", "html", "a number", "hangs up", "no models"])
def test_all_types_survive_them(serve, kind, name, faults):
    assert examine(probe(profile(serve(faults[name][0]).url, type=kind), patience=AMPLE)).state is not State.HEALTHY


def test_lm_studios_own_lists_may_fail_in_any_way(serve, fault, answer):
    """What only they could tell is unknown then; a server that serves is not called down for it."""

    def by_path(_connection):
        return [answer(LIST) if b"GET /v1/models " in server.heads[-1] else fault[0]]

    server = serve(by_path)
    result = examine(probe(profile(server.url, type="lmstudio"), patience=AMPLE))
    strange = fault[2] in {"not_found", "redirect_refused", "http_error", "unexpected_shape"}
    ours = b"Unexpected endpoint" in fault[0]
    assert result.error_code == ("wrong_type" if strange and not ours else None)
    assert [model.id for model in result.models][:1] == ["tern-3b"]


SLOW = {
    "says nothing": b"",
    "hangs in the status line": b"HTTP/1.1 2",
    "hangs in a header": b"HTTP/1.1 200 OK\r\nX: ",
    "hangs before the body": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
    "hangs in the body": b'HTTP/1.1 200 OK\r\n\r\n{"data": [',
}


@pytest.mark.parametrize("drip", [b"", b" "], ids=["hangs", "drips"])
@pytest.mark.parametrize("beginning", SLOW.values(), ids=SLOW)
def test_a_server_that_takes_for_ever(serve, beginning, drip):
    def slowly(_connection):
        yield beginning
        yield from server.drip(drip if beginning else b"")

    server = serve(slowly)
    result = examine(probe(profile(server.url), patience=SHORT))
    assert (result.state, result.tries) == (DOWN, 3)
    if len(server.heads) == result.tries:  # else the machine was too slow to ask, which is a timeout as well
        assert (result.error_code, failed_in(result)) == ("timeout", ["list"])


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    result = examine(probe(profile(url, type="lmstudio"), patience=AMPLE))
    assert (result.state, result.error_code, result.tries) == (DOWN, "connection_refused", 3)
    assert failed_in(result) == ["connect"]
    assert "lms server start" in result.fix


def test_a_machine_that_does_not_answer(silent):
    result = examine(probe(profile(silent()), patience=SHORT))
    assert (result.state, result.error_code, result.tries) == (DOWN, "connect_timeout", 3)
    assert failed_in(result) == ["connect"]


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 70, "a..b"])
def test_a_name_that_does_not_resolve(host):
    result = examine(probe(profile(f"http://{host}:9"), patience=AMPLE))
    assert (result.state, result.error_code, result.tries) == (DOWN, "dns_failure", 2)
    assert failed_in(result) == ["dns"]


def test_a_resolver_that_hangs(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: [][: released.wait(30)])
    try:
        result = examine(probe(profile("http://box.test:9"), patience=SHORT))
    finally:
        released.set()
    assert (result.error_code, failed_in(result)) == ("dns_failure", ["dns"])


def test_an_address_further_away_than_the_profile_says(names, dialled):
    names["box.test"] = ["8.8.8.8"]
    result = examine(probe(profile("http://box.test:9"), patience=AMPLE))
    assert (result.state, result.error_code, result.tries) == (State.BLOCKED, "address_refused", 1)
    assert "locality" in result.fix
    assert dialled == []


def test_a_reset(serve):
    def reset(connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return []

    result = examine(probe(profile(serve(reset).url), patience=AMPLE))
    assert (result.state, result.error_code, result.tries) == (DOWN, "connection_reset", 3)


@pytest.mark.parametrize(
    "url", ["http://[::1", "ftp://127.0.0.1", "http://127.0.0.1:99999", "nonsense", "http://127.0.0.1:x", "http://é/ "]
)
def test_an_address_that_is_none(url):
    result = examine(probe(profile(url), patience=AMPLE))
    assert (result.state, result.tries) in {(WRONG, 0), (WRONG, 1), (DOWN, 2)}


def test_no_endpoint_at_all():
    assert examine(probe(profile(None))).error_code == "bad_endpoint"


def test_a_password_in_the_address_is_not_shown():
    result = probe(profile("http://user:hunter22@127.0.0.1:1"), patience=AMPLE)
    assert "hunter22" not in result.message + result.fix


def test_a_proxy_that_is_down(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    result = examine(probe(profile("http://box.test", locality=Locality.CLOUD), patience=AMPLE))
    assert (result.state, result.error_code) == (DOWN, "proxy_error")


# TLS


def test_tls_that_is_right_is_a_phase(serve_tls, certificates, monkeypatch, answer):
    pem = certificates("127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    result = examine(probe(profile(serve_tls(pem, answer(LIST))), patience=AMPLE))
    assert result.state is State.HEALTHY
    assert {phase.outcome for phase in result.phases} == {Outcome.OK}


def test_a_certificate_for_another_name(serve_tls, certificates, monkeypatch, answer):
    pem = certificates("127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    result = examine(probe(profile(serve_tls(pem, answer(LIST))), patience=AMPLE))
    assert (result.state, result.error_code, result.tries) == (WRONG, "tls_error", 1)
    assert failed_in(result) == ["tls"]
    assert "mismatch" in result.message.lower() or "not valid for" in result.message


def test_a_certificate_that_nobody_trusts(serve_tls, certificates, answer):
    result = examine(probe(profile(serve_tls(certificates("127.0.0.1"), answer(LIST))), patience=AMPLE))
    assert (result.error_code, failed_in(result)) == ("tls_error", ["tls"])


def test_tls_to_a_plain_port():
    with running() as emulator:
        result = examine(probe(profile(emulator.url.replace("http:", "https:")), patience=AMPLE))
    assert (result.state, result.error_code, result.tries) == (WRONG, "no_tls", 1)
    assert failed_in(result) == ["tls"]
    assert "http://" in result.fix


def test_plain_http_to_a_tls_port(serve_tls, certificates, answer):
    url = serve_tls(certificates("127.0.0.1"), answer(LIST)).replace("https:", "http:")
    result = examine(probe(profile(url), patience=AMPLE))
    assert result.error_code in {"protocol_error", "connection_reset"}
    assert failed_in(result) == ["list"]


def test_a_certificate_bundle_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert examine(probe(profile("https://127.0.0.1:1"), patience=AMPLE)).error_code == "tls_error"


# Retrying


def test_a_fault_that_passes_is_not_reported(serve, answer):
    answers = iter([answer(b"", "503 Unavailable"), b"", answer(LIST)])
    result = examine(probe(profile(serve(lambda _connection: [next(answers)]).url), patience=AMPLE))
    assert (result.state, result.tries) == (State.HEALTHY, 3)


@pytest.mark.parametrize("retries", [0, 1, 2, 9])
def test_retries_are_counted(serve, retries, answer):
    server = serve(answer(b"", "500 Oops"))
    result = probe(profile(server.url), patience=Patience(30.0, retries, 0.0))
    assert result.tries == len(server.heads) == min(1 + retries, KINDS[ErrorCode.SERVER_ERROR].tries)


def test_only_what_may_pass_is_tried_again():
    again = {code for code, kind in KINDS.items() if kind.tries > 1}
    assert {KINDS[code].state for code in again} == {DOWN, State.DEGRADED}
    assert again.isdisjoint({ErrorCode.TOKEN_REFUSED, ErrorCode.RATE_LIMITED, ErrorCode.TLS_ERROR})


def test_every_error_has_a_row():
    assert set(KINDS) == set(ErrorCode)


# Retry-After


def later(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("86400", 86400, 86400),
        (later(3600), 3000, 3600),
        (later(-3600), 0, 0),
        ("Wed, 21 Oct 2015 07:28:00", 0, 0),
    ],
    ids=["some", "none", "a day", "a date", "a date gone by", "a date without a zone"],
)
def test_how_long_it_wants_to_be_left_alone(value, low, high):
    assert low <= of_reply(Reply(429, None, {"retry-after": value})).retry_after_s <= high


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e9", "9" * 5000, "12 parsecs", "٣", "\x00"])
def test_a_retry_after_that_says_nothing(value):
    assert of_reply(Reply(429, None, {"retry-after": value})).retry_after_s is None


@pytest.mark.parametrize(
    ("status", "wait", "tries"),
    [
        ("429 Too Many Requests", "7", 1),
        ("429 Too Many Requests", "0", 1),
        ("425 Too Early", "7", 1),
        ("503 Unavailable", "7", 1),
        ("503 Unavailable", "0", 3),
        ("500 Oops", "1", 1),
        ("404 Not Found", "7", 1),
    ],
)
def test_a_server_that_wants_to_be_left_alone_is_not_asked_again(serve, answer, status, wait, tries):
    server = serve(answer(b"", status, f"Retry-After: {wait}"))
    result = examine(probe(profile(server.url), patience=AMPLE))
    assert result.retry_after_s == float(wait)
    assert result.tries == len(server.heads) == tries


def test_the_longest_that_a_probe_takes():
    """Pauses of 1 and 2 s, each with up to 1 s more, between three tries of 5 s."""
    assert Patience(total_s=5.0, retries=2, pause_s=1.0).longest_s == 3 * 5 + (1 + 1) + (2 + 1)


# Secrets


@pytest.mark.parametrize("place", ["body", "json error", "status", "location", "model", "encoding"])
def test_a_token_that_is_echoed_is_not_shown(serve, place, answer):
    redact.remember(KEY)
    raw = {
        "body": answer(f"your key is {KEY}".encode()),
        "json error": answer({"error": {"message": f"bad key {KEY}"}}, "401 Unauthorized"),
        "status": f"HTTP/1.1 what {KEY}\r\n\r\n".encode(),
        "location": answer(b"", "302 Found", f"Location: http://x.example/{KEY}"),
        "model": answer({"data": [{"id": KEY}]}),
        "encoding": answer(b"x", "200 OK", f"Content-Encoding: {KEY}"),
    }[place]
    result = examine(probe(profile(serve(raw).url, auth_token=REF, models=("nothing",)), patience=AMPLE))
    assert "SENTINEL" not in repr(result)


@pytest.mark.parametrize("error", [SecretError("environment variable X is not set"), MissingExtra("keys", "keyring")])
def test_a_secret_that_is_not_there_is_said_before_anything_is_sent(serve, error, answer):
    def missing(_ref):
        raise error

    server = serve(answer(LIST))
    for kind in ("openai", "litellm"):
        result = examine(probe(profile(server.url, type=kind, auth_token=REF), secret=missing))
        assert (result.state, result.error_code, result.tries) == (State.AUTH, "token_missing", 0)
        assert str(error) in result.message
    assert server.heads == []


def test_a_refusal_of_no_token_asks_for_one(serve, faults):
    server = serve(faults["401"][0])
    optional = SecretRef(SecretSource.ENV, ("LMROUTE_TEST_NONE",), optional=True)
    assert "env LMROUTE_TEST_NONE" in probe(profile(server.url, auth_token=optional)).fix
    assert "add providers.box.auth_token" in probe(profile(server.url)).fix
    assert probe(profile(server.url, auth_token=REF)).fix.startswith("correct the token")
    assert probe(profile(server.url, auth_token=REF), secret=lambda _ref: Secret("x")).fix.startswith("correct")


# Anything at all


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(raw=st.binary(max_size=300), is_body=st.booleans(), kind=st.sampled_from(["lmstudio", "openai", "gemini"]))
def test_any_bytes_end_in_a_result(serve, raw, is_body, kind, answer):
    server = serve(answer(raw) if is_body else raw)
    examine(probe(profile(server.url, type=kind), patience=Patience(30.0, 0)))
    server.close()


@given(
    st.integers(100, 599),
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda x: st.dictionaries(st.sampled_from(["error", "message", "detail", "data"]), x) | st.lists(x),
    ),
    st.text(),
)
def test_any_status_and_body_has_a_meaning(status, body, retry_after):
    reply = Reply(status, body, {"retry-after": retry_after, "location": retry_after})
    fault = of_reply(reply)
    assert (fault is None) == reply.ok
    assert fault is None or fault.code in KINDS


def test_an_address_refused_is_not_taken_for_a_refused_connection():
    """Its text may hold the word, and it is a connection error by type."""
    assert of_error(AddressRefused("x is refused"), "connect").code is ErrorCode.ADDRESS_REFUSED
