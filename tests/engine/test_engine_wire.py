"""What servers do wrong, over a real socket: each ends as the right error, in time, and leaves no connection."""

import gc
import json
import time

import pytest
from dspy import lm15

from lmroute.engine import replies
from lmroute.engine.children import ProviderEngine
from lmroute.engine.exchange import Exchange, understood
from lmroute.engine.provider import Provider
from lmroute.engine.replies import settle
from lmroute.engine.verdicts import classify
from lmroute.model import Failure, Locality, SecretRef, SecretSource
from lmroute.providers.dialing import Patience

SOON = 6.0
"""Seconds within which everything here has to be over, however busy the machine is."""


@pytest.fixture(params=["complete", "stream"])
def call(request, mode, make):
    """Ask a provider once, for a whole answer and for a stream: ``call(profile) -> text``."""

    def once(profile):
        engine = mode.provider(profile)
        if request.param == "complete":
            return mode.complete(engine, make.ask(model="m")).text
        return make.text(mode.stream(engine, make.ask(model="m")))

    return once


@pytest.fixture
def fails(call, server):
    """The error of a call, after checking that it came in time and left no connection behind."""

    def of(profile):
        started = time.monotonic()
        with pytest.raises(lm15.LM15Error) as caught:
            call(profile)
        assert time.monotonic() - started < SOON
        assert server.settles_at(0)
        return caught.value

    return of


DEEP = "[" * 20_000
BAD_BODIES = {
    "a string error": ({"error": "Something odd"}, "Something odd"),
    "an object error": ({"error": {"message": "Something odd", "type": "x"}}, "Something odd"),
    "an error beside no choices": ({"error": "Something odd", "choices": []}, "Something odd"),
    "LM Studio's unknown path": ({"error": "Unexpected endpoint or method. (POST /x)"}, "Unexpected endpoint"),
    "no choices": ({"id": "c1", "object": "x"}, "no choices"),
    "empty choices": ({"choices": []}, "no choices"),
    "an empty object": ({}, "no choices"),
    "a list": ([1, 2], "malformed answer"),
    "a string": ('"choices"', "malformed answer"),
    "choices that are a string": ({"choices": "many"}, "malformed answer"),
    "usage that is a string": ({"choices": [{"message": {"content": "hi"}}], "usage": "much"}, "malformed answer"),
    "html": ("<html>Welcome to the hotel</html>", "not JSON"),
    "nothing": ("", "not JSON"),
    "half of it": ('{"choices": [{"mess', "not JSON"),
    "nested beyond reason": (DEEP, "malformed answer"),
    "nested choices": ('{"choices": ' + DEEP, "malformed answer"),
}


@pytest.mark.parametrize(("body", "says"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_success_that_is_none_is_a_bad_reply(mode, make, server, body, says):
    server.answers(server.http(body))
    with pytest.raises(lm15.LM15Error, match=says) as caught:
        mode.complete(mode.provider(server.profile()), make.ask(model="m"))
    assert classify(caught.value) is Failure.BAD_REPLY, caught.value


@pytest.mark.parametrize("body", [{"choices": [5], "model": {"a": 1}}, {"choices": [{"message": "hi"}]}])
def test_an_odd_answer_that_lm15_can_read_is_one(mode, make, server, body):
    server.answers(server.http(body))
    assert mode.complete(mode.provider(server.profile()), make.ask(model="m")).text == ""


@pytest.mark.parametrize("body", [body for body, _ in BAD_BODIES.values()], ids=BAD_BODIES)
def test_a_stream_that_is_none_is_a_bad_reply(mode, make, server, body):
    server.answers(server.http(body))
    with pytest.raises(lm15.LM15Error) as caught:
        mode.stream(mode.provider(server.profile()), make.ask(model="m"))
    assert classify(caught.value) is Failure.BAD_REPLY, caught.value


HTTP_ERRORS = {
    "400": ("400 Bad Request", Failure.INVALID_REQUEST),
    "401": ("401 Unauthorized", Failure.AUTH),
    "402": ("402 Payment Required", Failure.BILLING),
    "403": ("403 Forbidden", Failure.AUTH),
    "404": ("404 Not Found", Failure.BAD_REPLY),
    "408": ("408 Request Timeout", Failure.TIMEOUT),
    "429": ("429 Too Many Requests", Failure.RATE_LIMIT),
    "500": ("500 Internal Server Error", Failure.SERVER),
    "503": ("503 Service Unavailable", Failure.SERVER),
    "504": ("504 Gateway Timeout", Failure.TIMEOUT),
}


@pytest.mark.parametrize(("status", "failure"), HTTP_ERRORS.values(), ids=HTTP_ERRORS)
@pytest.mark.parametrize(
    "body",
    [{"error": {"message": "told so"}}, {"error": "told so"}, "<h1>told so</h1>"],
    ids=["object", "text", "html"],
)
def test_a_status_says_what_failed(call, server, status, failure, body):
    server.answers(server.http(body, status))
    with pytest.raises(lm15.LM15Error, match="told so") as caught:
        call(server.profile())
    assert classify(caught.value) is failure


def test_a_gateway_that_hides_the_status_in_the_body_is_understood(call, server):
    server.answers(server.http({"error": {"message": "slow down", "code": 429}}))
    with pytest.raises(lm15.RateLimitError, match="slow down"):
        call(server.profile())


def test_retry_after_is_kept(call, server):
    server.answers(server.http({"error": "busy"}, "429 Too Many Requests", "application/json", "Retry-After: 7"))
    with pytest.raises(lm15.RateLimitError) as caught:
        call(server.profile())
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirect_is_not_followed_and_named(call, server, status):
    server.answers(server.http("", status, "text/plain", f"Location: {server.url}/elsewhere"))
    with pytest.raises(lm15.LM15Error, match=r"redirected to .*/elsewhere") as caught:
        call(server.profile())
    assert classify(caught.value) is Failure.BAD_REPLY
    assert [request.path for request in server.received] == ["/v1/chat/completions"]


CUT = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n" + b'{"choices": [{"mess'
BROKEN = {
    "closed at once": (["CLOSE"], Failure.TRANSPORT),
    "reset at once": (["RESET"], Failure.TRANSPORT),
    "closed in the body": ([CUT, "CLOSE"], Failure.TRANSPORT),
    "reset in the body": ([CUT, "RESET"], Failure.TRANSPORT),
    "not HTTP": ([b"SSH-2.0-OpenSSH_9.9\r\n", "CLOSE"], Failure.TRANSPORT),
    "headers without end": ([b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 30_000, "CLOSE"], Failure.TRANSPORT),
    "a bad chunk": (
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nZZ\r\n", "CLOSE"],
        Failure.TRANSPORT,
    ),
}


@pytest.mark.parametrize(("script", "failure"), BROKEN.values(), ids=BROKEN)
def test_a_broken_connection_is_a_transport_failure(fails, server, script, failure):
    server.answers([getattr(server, step) if isinstance(step, str) else step for step in script])
    assert classify(fails(server.profile())) is failure


def test_nobody_there_is_a_transport_failure(call, server):
    server.close()
    with pytest.raises(lm15.TransportError, match="connection refused"):
        call(server.profile())
    server.close = lambda: None


def slowly(data, server, pause=0.1):
    return [step for byte in data for step in (bytes([byte]), server.pause(pause))]


DRIPS = {
    "no answer at all": lambda w: [w.pause(30)],
    "dripping headers": lambda w: slowly(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60, w),
    "a dripping body": lambda w: [CUT, *slowly(b" " * 200, w)],
    "a dripping event stream": lambda w: [w.sse_head, *slowly(b": ping\n\n" * 60, w)],
    "events for ever": lambda w: [w.sse_head, *[s for _ in range(200) for s in (w.sse(w.chunk("x")), w.pause(0.05))]],
}


@pytest.mark.parametrize("script", DRIPS.values(), ids=DRIPS)
def test_the_total_deadline_ends_everything(fails, server, script):
    server.answers(script(server))
    assert classify(fails(server.profile(total_s=0.25))) is Failure.TIMEOUT


def test_the_first_byte_bound_is_not_for_whole_answers(mode, make, server):
    server.answers([server.pause(0.3), server.http(server.chat("late"))])
    engine = mode.provider(server.profile(first_token_s=0.1, idle_s=0.1, total_s=60))
    assert mode.complete(engine, make.ask(model="m")).text == "late"


def test_a_body_beyond_the_cap_is_refused(fails, server, monkeypatch):
    monkeypatch.setattr(replies, "MAX_REPLY", 10_000)
    server.answers(server.http(server.chat("x" * 20_000)))
    error = fails(server.profile())
    assert classify(error) is Failure.BAD_REPLY
    assert "longer than 10000 bytes" in error.message


def test_what_is_sent(mode, make, server, monkeypatch):
    monkeypatch.setenv("A_TOKEN", "tok-123456")
    server.answers(server.http(server.chat()))
    profile = server.profile(auth_token=SecretRef(SecretSource.ENV, ("A_TOKEN",)))
    mode.complete(mode.provider(profile), make.ask("grüß dich", model="m", max_tokens=5))
    (sent,) = server.received
    assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
    assert sent.header("Host") == server.url.removeprefix("http://")
    assert sent.header("Authorization") == "Bearer tok-123456"
    assert sent.header("Content-Type") == "application/json"
    assert sent.header("Accept-Encoding") == "identity"
    assert int(sent.header("Content-Length")) == len(sent.body)
    assert sent.json["messages"] == [{"role": "user", "content": "grüß dich"}]
    assert sent.json["model"] == "m"


def test_local_traffic_goes_through_no_proxy(mode, make, server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers(server.http(server.chat("direct")))
    assert mode.complete(mode.provider(server.profile()), make.ask(model="m")).text == "direct"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://127.0.0.1:9"])
def test_a_proxy_that_does_not_work_is_a_transport_failure(call, make, monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    profile = make.profile(endpoint="http://llm.example", locality=Locality.CLOUD)
    with pytest.raises(lm15.TransportError):
        call(profile)


def test_connections_are_reused_and_closed_at_the_end(mode, make, server):
    server.answers(server.http(server.chat()))
    engine = mode.provider(server.profile())
    for _ in range(3):
        mode.complete(engine, make.ask(model="m"))
    assert server.connections() == 1
    mode.close(engine)
    assert server.settles_at(0)
    assert mode.complete(engine, make.ask(model="m")).text == "hi"  # and it opens again


def test_an_engine_that_is_let_go_of_leaves_no_connection(make, server):
    server.answers(server.http(server.chat()))
    engine = ProviderEngine(Provider(server.profile()))
    engine.complete(make.ask(model="m"))
    assert server.connections() == 1
    del engine
    gc.collect()
    assert server.settles_at(0)


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(mode, make, server):
    server.answers([server.http(server.chat("one")), server.CLOSE], server.http(server.chat("two")))
    engine = mode.provider(server.profile())
    assert mode.complete(engine, make.ask(model="m")).text == "one"
    assert server.settles_at(0)
    assert mode.complete(engine, make.ask(model="m")).text == "two"


def test_a_consumer_that_stops_early_frees_the_connection(mode, make, server):
    server.answers([server.sse_head, server.sse(server.chunk("he")), server.sse(server.chunk("llo")), server.pause(30)])
    engine = mode.provider(server.profile())
    assert len(mode.stream(engine, make.ask(model="m"), stop_after=2)) == 2
    assert server.settles_at(0)


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("needs_choices", [True, False])
def test_a_good_body_passes_unchanged(server, status, needs_choices):
    body = json.dumps(server.chat('it says "error" and {"error": 1}')).encode()
    exchange = Exchange(Patience(0, 1, 1, 1), needs_choices=needs_choices)
    assert settle(status, body, exchange) == (status, body)


def test_an_address_beyond_the_profiles_locality_is_not_dialled(call, make):
    profile = make.profile(endpoint="http://192.0.2.1:1234", locality=Locality.LOOPBACK)
    with pytest.raises(lm15.TransportError, match="locality: loopback"):
        call(profile)


def test_before_an_answer_began_an_exception_is_a_bug():
    exchange = Exchange(Patience(time.monotonic() + 9, 1, 1, 1))
    with pytest.raises(ValueError, match="our own"), understood(exchange):
        raise ValueError("our own")
    exchange.replied = True
    with pytest.raises(lm15.ProviderError, match=r"malformed answer \(ValueError: theirs\)"), understood(exchange):
        raise ValueError("theirs")
    with pytest.raises(KeyboardInterrupt), understood(exchange):
        raise KeyboardInterrupt
