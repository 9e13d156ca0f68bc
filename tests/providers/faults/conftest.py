"""The catalogue of what a server that answers can do wrong, and what a probe is to say about it."""

import json
import socket
import ssl
import threading
import zlib
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from lmroute.providers.http import MAX_BODY
from lmroute.providers.probe import State

KEY = "sk-SENTINEL-0123456789abcdef"
LIST = {"object": "list", "data": [{"id": "tern-3b"}]}


def _answer(body=b"", status="200 OK", *headers):
    """The bytes of a whole answer; a body that is no bytes is written as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def squeezed(coding, megabytes=30):
    """A compressed answer that would be large."""
    packer = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    body = b"".join(packer.compress(b"0" * 1_000_000) for _ in range(megabytes)) + packer.flush()
    return _answer(body, "200 OK", f"Content-Encoding: {coding}")


DOWN, AUTH, WRONG, BUSY = State.DOWN, State.AUTH, State.MISCONFIGURED, State.THROTTLED
FAULTS = {
    "401": (_answer({"error": {"message": "no key"}}, "401 Unauthorized"), AUTH, "token_refused", 1, "auth", "no key"),
    "401 html": (_answer(b"<h1>401</h1>", "401 Unauthorized"), AUTH, "token_refused", 1, "auth", "HTTP 401"),
    "403": (_answer({"error": "denied"}, "403 Forbidden"), AUTH, "token_refused", 1, "auth", "HTTP 403: denied"),
    "400 key": (
        _answer({"error": {"message": "API key not valid."}}, "400 Bad Request"),
        AUTH,
        "token_refused",
        1,
        "auth",
        "HTTP 400: API key",
    ),
    "400": (_answer({"error": "what?"}, "400 Bad Request"), WRONG, "http_error", 1, "list", "HTTP 400: what?"),
    "404": (_answer({"detail": "Not Found"}, "404 Not Found"), WRONG, "not_found", 1, "list", "HTTP 404: Not Found"),
    "404 message": (
        _answer({"error": None, "message": "gone"}, "404 Not Found"),
        WRONG,
        "not_found",
        1,
        "list",
        "HTTP 404: gone",
    ),
    "408": (_answer(b"", "408 Request Timeout"), BUSY, "rate_limited", 1, "list", "HTTP 408"),
    "425": (_answer(b"", "425 Too Early", "Retry-After: 86400"), BUSY, "rate_limited", 1, "list", "HTTP 425"),
    "429 junk": (_answer(b"", "429 Too Many", "Retry-After: soon"), BUSY, "rate_limited", 1, "list", "HTTP 429"),
    "429 negative": (_answer(b"", "429 Too Many", "Retry-After: -5"), BUSY, "rate_limited", 1, "list", "HTTP 429"),
    "503 later": (_answer(b"", "503 Unavailable", "Retry-After: 9"), DOWN, "server_error", 1, "list", "HTTP 503"),
    "405": (_answer(b"", "405 Method Not Allowed"), WRONG, "not_found", 1, "list", "HTTP 405"),
    "418": (_answer(b"", "418 Teapot"), WRONG, "http_error", 1, "list", "HTTP 418"),
    "429": (_answer(b"", "429 Too Many Requests", "Retry-After: 7"), BUSY, "rate_limited", 1, "list", "HTTP 429"),
    "500": (_answer(b"<pre>Error</pre>", "500 Oops"), DOWN, "server_error", 3, "list", "HTTP 500"),
    "502": (_answer(b"", "502 Bad Gateway"), DOWN, "server_error", 3, "list", "HTTP 502"),
    "503": (_answer({"error": "busy"}, "503 Unavailable"), DOWN, "server_error", 3, "list", "HTTP 503: busy"),
    "503 loading": (
        _answer({"error": {"code": 503, "message": "Loading model"}}, "503 Unavailable"),
        State.DEGRADED,
        "model_loading",
        3,
        "list",
        "Loading model",
    ),
    "504": (_answer(b"", "504 Gateway Timeout"), DOWN, "server_error", 3, "list", "HTTP 504"),
    "no status": (_answer(b"", "299 Odd"), WRONG, "not_json", 1, "list", "the answer is empty"),
    "redirect": (
        _answer(b"", "302 Found", f"Location: http://portal.example/login?session={KEY}"),
        WRONG,
        "redirect_refused",
        1,
        "list",
        "a redirect to http://portal.example/login",
    ),
    "redirect to itself": (
        _answer(b"", "307 Temporary Redirect", "Location: /v1/models"),
        WRONG,
        "redirect_refused",
        1,
        "list",
        "a redirect to /v1/models",
    ),
    "redirect from https": (
        _answer(b"", "308 Moved", "Location: http://127.0.0.1:9/v1/models"),
        WRONG,
        "redirect_refused",
        1,
        "list",
        "a redirect to http://127.0.0.1:9/v1/models",
    ),
    "redirect to nowhere": (_answer(b"", "301 Moved"), WRONG, "redirect_refused", 1, "list", "to nowhere"),
    "lm studio's 404": (
        _answer({"error": "Unexpected endpoint or method. (GET /models)"}),
        WRONG,
        "not_found",
        1,
        "list",
        "Unexpected endpoint",
    ),
    "200 with an error": (_answer({"error": {"message": "boom"}}), WRONG, "unexpected_shape", 1, "list", "error: boom"),
    "200 with a bare error": (_answer({"error": None}), WRONG, "unexpected_shape", 1, "list", "without a text"),
    "html": (_answer(b"<!doctype html><title>Log in"), WRONG, "not_json", 1, "list", "'<!doctype html>"),
    "empty": (_answer(b""), WRONG, "not_json", 1, "list", "the answer is empty"),
    "cut json": (_answer(b'{"data": ['), DOWN, "connection_reset", 3, "list", "cut off after 10 bytes"),
    "no json": (_answer(b"{'data': []}"), WRONG, "not_json", 1, "list", "no JSON"),
    "deep json": (_answer(b"[" * 100_000), WRONG, "not_json", 1, "list", "no JSON"),
    "binary": (_answer(b"\xff\x00\x1b[31m" * 9), WRONG, "not_json", 1, "list", "no JSON"),
    "utf-16": (_answer(json.dumps(LIST).encode("utf-16")), WRONG, "not_json", 1, "list", "no JSON"),
    "a byte order mark": (
        _answer(b"\xef\xbb\xbf" + json.dumps(LIST).encode()),
        WRONG,
        "not_json",
        1,
        "list",
        "no JSON",
    ),
    "half a character": (_answer(b'{"data": [{"id": "\xed\xa0\x80"}]}'), WRONG, "not_json", 1, "list", "no JSON"),
    "half a pair": (_answer(b'{"data": [{"id": "\\ud800"}]}'), WRONG, "no_models", 1, "model", "no chat model"),
    "not a number": (_answer(b'{"data": [{"id": "m", "x": NaN}]}'), WRONG, "not_json", 1, "list", "no JSON"),
    "infinity": (_answer(b'{"data": [{"id": "m", "x": -Infinity}]}'), WRONG, "not_json", 1, "list", "no JSON"),
    "two lists": (_answer(b'{"data": 7, "data": [{"id": "m"}]}'), WRONG, "not_json", 1, "list", "no JSON"),
    "deep in a list": (_answer(b'{"data": ' + b"[" * 100_000), WRONG, "not_json", 1, "list", "no JSON"),
    "json said to be html": (
        _answer([], "200 OK", "Content-Type: text/html"),
        WRONG,
        "unexpected_shape",
        1,
        "list",
        "",
    ),
    "html said to be json": (
        _answer(b"<p>", "200 OK", "Content-Type: application/json"),
        WRONG,
        "not_json",
        1,
        "list",
        "'<p>'",
    ),
    "a list": (_answer([1, 2]), WRONG, "unexpected_shape", 1, "list", "no list of models"),
    "a number": (_answer(7), WRONG, "unexpected_shape", 1, "list", "no list of models"),
    "another object": (_answer({"status": "ok"}), WRONG, "unexpected_shape", 1, "list", "no list of models"),
    "data is no list": (_answer({"data": {}}), WRONG, "unexpected_shape", 1, "list", "no list of models"),
    "no models": (_answer({"data": []}), WRONG, "no_models", 1, "model", "no chat model"),
    "nameless models": (_answer({"data": [{}, 3, {"id": 4}, {"id": ""}]}), WRONG, "no_models", 1, "model", "no chat"),
    "only embeddings": (_answer({"data": [{"id": "nomic-embed"}]}), WRONG, "no_models", 1, "model", "no chat model"),
    "huge": (_answer(b" " * (MAX_BODY + 1)), WRONG, "body_too_large", 1, "list", "longer than"),
    "too many models": (
        _answer(b'{"data": [' + b'{"id": "a"},' * 150_000 + b'{"id": "b"}]}'),
        WRONG,
        "body_too_large",
        1,
        "list",
        "it lists 150001 models",
    ),
    "gzip bomb": (squeezed("gzip"), WRONG, "unexpected_encoding", 1, "list", "compressed ('gzip')"),
    "brotli": (_answer(b"\x0b", "200 OK", "Content-Encoding: br"), WRONG, "unexpected_encoding", 1, "list", "('br')"),
    "gzip": (squeezed("gzip", 1), WRONG, "unexpected_encoding", 1, "list", "compressed ('gzip')"),
    "deflate bomb": (squeezed("deflate"), WRONG, "unexpected_encoding", 1, "list", "compressed ('deflate')"),
    "hangs up": (b"", DOWN, "connection_reset", 3, "list", "disconnected"),
    "hangs up in the head": (b"HTTP/1.1 200 OK\r\nContent-", DOWN, "connection_reset", 3, "list", "disconnected"),
    "hangs up in the body": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        DOWN,
        "connection_reset",
        3,
        "list",
        "closed connection",
    ),
    "ssh": (b"SSH-2.0-OpenSSH_9.9\r\n", WRONG, "protocol_error", 1, "list", "does not speak HTTP"),
    "garbage": (b"\x00\x01\x02\r\n\r\n", WRONG, "protocol_error", 1, "list", "the connection broke"),
    "tls alert": (b"\x15\x03\x01\x00\x02\x02\x16", WRONG, "protocol_error", 1, "list", "the connection broke"),
    "bad chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        WRONG,
        "protocol_error",
        1,
        "list",
        "the connection broke",
    ),
    "http/0.9": (b'{"data": [{"id": "m"}]}\r\n', WRONG, "protocol_error", 1, "list", "the connection broke"),
    "many headers": (
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
        WRONG,
        "protocol_error",
        1,
        "list",
        "the connection broke",
    ),
    "endless header": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, WRONG, "protocol_error", 1, "list", "broke"),
    "a flood of 1xx": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2000, DOWN, "connection_reset", 3, "list", "disconn"),
}
"""By name: bytes of the answer, state, error code, tries, phase that fails, a part of the message."""


def pytest_generate_tests(metafunc):
    """A test that takes a ``fault`` is run with each of them."""
    if "fault" in metafunc.fixturenames:
        metafunc.parametrize("fault", FAULTS.values(), ids=FAULTS)


@pytest.fixture
def faults():
    """All of them by name: bytes of the answer, state, error code, tries, phase that fails, a part of the message."""
    return FAULTS


@pytest.fixture
def answer():
    """Writes a whole answer: ``answer(body, status, *headers) -> bytes``."""
    return _answer


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    """The token of every profile here; it is never to be seen."""
    monkeypatch.setenv("LMROUTE_TEST_TOKEN", KEY)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """``certificates(address, ends) -> path`` of a PEM file: a key, and its own certificate, good for ``ends`` days."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography, which makes certificates, is missing")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def make(address, ends=1):
        key = ec.generate_private_key(ec.SECP256R1())
        name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")]), datetime.now(UTC)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=9))
            .not_valid_after(now + timedelta(days=ends))
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        plain, private = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
        pem = tmp_path_factory.mktemp("tls") / "server.pem"
        encoding = serialization.Encoding.PEM
        pem.write_bytes(key.private_bytes(encoding, private, plain) + certificate.public_bytes(encoding))
        return pem

    return make


@pytest.fixture
def serve_tls(serve):
    """``serve_tls(pem, answer) -> https URL``: TLS is spoken by hand, because ``serve`` reads the plain head first."""
    with ExitStack() as stack:

        def start(pem, raw):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener.settimeout(0.05)
            stopping = threading.Event()

            def accept():
                while not stopping.is_set():
                    with suppress(OSError):
                        connection, _ = listener.accept()
                        connection.settimeout(5)
                        with connection, context.wrap_socket(connection, server_side=True) as tls:
                            while b"\r\n\r\n" not in tls.recv(65536):
                                pass
                            tls.sendall(raw)

            thread = threading.Thread(target=accept)
            thread.start()
            stack.callback(thread.join)
            stack.callback(stopping.set)
            return f"https://127.0.0.1:{listener.getsockname()[1]}"

        yield start
