"""One JSON document from a server, or one short line that says why not."""

import json
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmroute import redact
from lmroute.errors import LmrouteError, ProviderUnavailable, ServerUnreachable
from lmroute.model import Locality, Secret
from lmroute.providers.http import MAX_BODY, CutOff, _reply, get_json

LONG_S = 10.0


def get(url, **options):
    return get_json(url, **{"locality": Locality.LOOPBACK, "total_s": 5.0} | options)


def refusal(url, kind, **options):
    """The message of the error that ``get`` ends with: of this class and no other, short, about this address."""
    with pytest.raises(kind) as raised:
        get(url, **options)
    assert type(raised.value) is kind
    message = str(raised.value)
    assert message.startswith(url)
    assert "\n" not in message
    assert len(message.removeprefix(url)) < 150
    return message.removeprefix(url).removeprefix(": ")


@pytest.fixture
def nobody():
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    return f"http://127.0.0.1:{port}/v1/models"


def test_a_document_is_read(serve):
    reply = get(serve(serve.reply({"data": ["é"]})).url)
    assert (reply.status, reply.body, reply.ok) == (200, {"data": ["é"]}, True)


def test_what_is_sent(serve):
    server = serve()
    get(f"{server.url}/v1/models?x=1", token=Secret("t0ken-of-a-test"))
    head = server.heads[0].decode().lower().splitlines()
    assert head[0] == "get /v1/models?x=1 http/1.1"
    assert f"host: 127.0.0.1:{server.port}" in head
    assert "authorization: bearer t0ken-of-a-test" in head
    assert "accept-encoding: identity" in head


def test_no_token_no_header(serve):
    server = serve()
    get(server.url)
    assert b"authorization" not in server.heads[0].lower()


def test_nobody_listens(nobody):
    assert refusal(nobody, ServerUnreachable) == "connection refused"


def test_a_name_that_does_not_resolve():
    assert "does not resolve" in refusal("http://no-such-name.invalid/", ServerUnreachable)


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
def test_a_name_that_cannot_be_one(host):
    assert refusal(f"http://{host}/", ServerUnreachable).endswith(" does not resolve: it is no host name")


def test_an_address_that_says_nothing(silent):
    assert refusal(silent(), ServerUnreachable, connect_s=0.1) == "no answer to the connection attempt"


def test_an_address_too_far(names):
    names["box.test"] = ["8.8.8.8"]
    expected = "box.test is 8.8.8.8, a cloud address, but the profile says locality: loopback"
    assert refusal("http://box.test/", ServerUnreachable) == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<!doctype html><p>It works", "the answer is no JSON, it begins '<!doctype html><p>It works'"),
        (b"", "the answer is empty"),
        (b"{'data': []}", "the answer is no JSON, it begins \"{'data': []}\""),
        (b'{"data": []} and more', "the answer is no JSON, it begins "),
        (b'{"data": [,', "the answer is no JSON, it begins "),
        (b"It works", "the answer is no JSON, it begins "),
        (b'{"data": [', "the answer is cut off after 10 bytes"),
        (b"\xff\xfe\x00", "the answer is no JSON, it begins "),
        (b"[" * 100_000, "the answer is no JSON, it begins '[[[["),
        (b'{"a":' * 100_000, "the answer is no JSON, it begins "),
    ],
    ids=["html", "empty", "python", "two", "comma", "words", "cut", "binary", "deep list", "deep object"],
)
def test_a_success_that_is_no_json(serve, body, words):
    assert refusal(serve(serve.reply(body)).url, ProviderUnavailable).startswith(words)


WHOLE = '{"data": [{"id": "gräser \\u00fc", "a": true, "b": null, "c": -1.5e-3, "d": false, "e": {}}]}\n'.encode()


@pytest.mark.parametrize("length", range(1, len(WHOLE) - 1))
def test_a_list_that_ends_too_early_is_told_wherever_that_is(length):
    with pytest.raises(CutOff, match=f"cut off after {length} bytes"):
        _reply(200, WHOLE[:length], {})
    assert _reply(200, WHOLE, {}).body["data"][0]["c"] == -0.0015


@pytest.mark.parametrize("body", [b"<h1>Bad Gateway</h1>", b"", b"[" * 100_000])
def test_an_error_status_may_come_with_any_body(serve, body):
    reply = get(serve(serve.reply(body, "502 Bad Gateway")).url)
    assert (reply.status, reply.body, reply.ok) == (502, None, False)


def test_an_error_status_with_json(serve):
    reply = get(serve(serve.reply({"error": "boom"}, "500 Internal Server Error")).url)
    assert (reply.status, reply.body, reply.ok) == (500, {"error": "boom"}, False)


def test_an_error_with_status_200_is_not_ok(serve):
    reply = get(serve(serve.reply({"error": "Unexpected endpoint or method. (GET /models)"})).url)
    assert (reply.status, reply.ok) == (200, False)


def test_a_redirect_is_not_followed(serve):
    elsewhere = serve()
    reply = get(serve(serve.reply(b"", "301 Moved Permanently", f"Location: {elsewhere.url}")).url)
    assert (reply.status, reply.body, reply.ok) == (301, None, False)
    assert elsewhere.heads == []


def test_a_long_answer_is_not_read_to_its_end(serve):
    sent = []

    def answer(_connection):
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        for _ in range(100):
            sent.append(1)
            yield b'"' + b"x" * 1_000_000

    assert refusal(serve(answer).url, ProviderUnavailable) == f"the answer is longer than {MAX_BODY} bytes"
    assert len(sent) < 100


def test_an_announced_length_does_not_matter(serve):
    body = b'"' + b"x" * 3_000_000 + b'"'
    assert "longer than" in refusal(serve(serve.reply(body)).url, ProviderUnavailable)


def test_a_document_just_short_enough_is_read(serve):
    body = b'"' + b"x" * (MAX_BODY - 2) + b'"'
    assert len(get(serve(serve.reply(body)).url).body) == MAX_BODY - 2


@pytest.mark.parametrize(
    "beginning",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"],
    ids=["nothing", "header", "body"],
)
def test_a_server_that_takes_for_ever(serve, beginning):
    def answer(_connection):
        yield beginning
        yield from server.drip(b"" if not beginning else b" ")

    server, started = serve(answer), time.monotonic()
    assert refusal(server.url, ServerUnreachable, total_s=0.2) == "no complete answer in time"
    assert time.monotonic() - started < LONG_S


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\x01\x02\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
    ids=["hangs up", "binary", "ssh", "cut", "negative length", "bad chunk", "endless header"],
)
def test_a_server_that_speaks_no_proper_http(serve, raw):
    assert refusal(serve(raw).url, ServerUnreachable).startswith("the connection broke")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200), is_body=st.booleans())
def test_whatever_comes_the_error_is_ours(serve, raw, is_body):
    message = ""
    try:
        json.dumps(get(serve(serve.reply(raw) if is_body else raw).url).body)
    except LmrouteError as error:
        message = str(error)
    assert len(message) < 300


def test_a_body_that_echoes_a_secret_does_not_show_it_not_even_cut(serve):
    secret = "an-echoed-value-of-thirty-chars-"
    redact.remember(secret)
    for before in range(20, 64, 4):
        message = refusal(serve(serve.reply(b"x" * before + secret.encode())).url, ProviderUnavailable)
        assert secret[:4] not in message


def test_a_key_that_nobody_registered_is_not_shown(serve):
    body = b"no such token: sk-lm-a1B2c3D4:abcdefghij0123456789"
    assert "a1B2" not in refusal(serve(serve.reply(body)).url, ProviderUnavailable)


def test_neither_is_one_where_a_status_line_should_be(serve):
    assert "***" in refusal(serve(b"no such token: sk-abcdefgh12345678\r\n\r\n").url, ServerUnreachable)
