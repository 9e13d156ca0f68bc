"""Loopback servers that answer exactly the bytes a test wrote, and names that resolve to what a test says."""

import json
import re
import socket
import threading
from contextlib import ExitStack, suppress

import pytest

from lmroute.model import Locality, Profile
from lmroute.providers.catalog import Dialect, base_url
from lmroute.providers.inventory import LISTINGS, opened, take

PAUSE_S = 0.02
DRIPS = 1000


class RawServer:
    """A server on loopback; each connection gets one answer and is closed.

    ``answer`` is the bytes of every answer, or is called with the connection and yields them piece by piece; it may be
    set anew between two requests.
    """

    def __init__(self, answer, host):
        self.heads = []
        self.answer = answer
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listener.settimeout(0.05)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self.stopping = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self):
        while not self.stopping.is_set():
            with suppress(TimeoutError):
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection):
        with connection, suppress(OSError):
            connection.settimeout(5)
            head = b""
            while b"\r\n\r\n" not in head:
                if not (part := connection.recv(4096)):
                    break
                head += part
            while len(head.partition(b"\r\n\r\n")[2]) < _length(head) and (part := connection.recv(4096)):
                head += part  # a body left unread would reset the connection under the answer
            self.heads.append(head)
            for piece in self.answer(connection) if callable(self.answer) else [self.answer]:
                if self.stopping.is_set():
                    return
                connection.sendall(piece)

    def drip(self, piece):
        """The same bytes again and again, far longer than a test may take, or until the client goes away."""
        for _ in range(DRIPS):
            if self.stopping.wait(PAUSE_S):
                return
            yield piece

    @property
    def serving(self):
        """The threads that run, first the one that accepts connections; each other one has a connection."""
        return [thread for thread in self._threads if thread.is_alive()]

    @property
    def connections(self):
        """How many have not ended yet."""
        return len(self.serving) - 1

    def close(self):
        self.stopping.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()


def _length(head):
    """The bytes of body that a request says it has."""
    found = re.search(rb"(?i)content-length: *(\d+)", head)
    return int(found[1]) if found else 0


def reply(body=b"{}", status="200 OK", *headers):
    """The bytes of an HTTP answer; a body that is no bytes is written as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


@pytest.fixture(scope="session")
def stage():
    """A server that stands for the whole session: a test sets its ``answer``. Starting one takes longer than a test."""
    server = RawServer(b"", "127.0.0.1")
    yield server
    server.close()


@pytest.fixture
def serve():
    """Starts a server: ``serve(answer, host="127.0.0.1") -> RawServer``. ``serve.reply`` writes answers."""
    with ExitStack() as stack:

        def start(answer=None, host="127.0.0.1"):
            server = RawServer(reply() if answer is None else answer, host)
            stack.callback(server.close)
            return server

        start.reply = reply
        yield start


@pytest.fixture
def native(serve):
    """A server that answers by path, and what is taken of it: ``native("ollama", {path: body}) -> Native``.

    A body that is bytes is a whole answer, a function is called with the body of the request; other paths are 404.
    """

    def start(kind, answers, otherwise=None, **fields):
        def answer(_connection):
            head, _, body = server.heads[-1].partition(b"\r\n\r\n")
            found = answers.get(head.split()[1].decode(), otherwise)
            found = found(json.loads(body)) if callable(found) else found
            if found is None:
                return [reply({"detail": "Not Found"}, "404 Not Found")]
            return [found if isinstance(found, bytes) else reply(found)]

        server = serve(answer)
        fields = {"id": "box", "type": kind, "endpoint": server.url, "locality": Locality.LOOPBACK} | fields
        return Native(server, Profile(**fields))

    return start


class Native:
    """A scripted server and its profile."""

    def __init__(self, server, profile):
        self.server, self.profile = server, profile

    def take(self):
        """Its inventory."""
        with opened(self.profile, base_url(self.profile), LISTINGS[Dialect.OPENAI_CHAT], None, total_s=20) as line:
            return take(line)[0]

    @property
    def paths(self):
        """What it was asked, in order."""
        return [head.split()[1].decode() for head in self.server.heads]


@pytest.fixture
def names(monkeypatch):
    """A table of made-up host names: ``names["box.test"] = ["192.168.1.5", "127.0.0.1"]``."""
    table = {}
    real = socket.getaddrinfo

    def fake(host, port, *args, **kwargs):
        host = host.decode() if isinstance(host, bytes) else host
        if host not in table:
            return real(host, port, *args, **kwargs)
        found = [(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip) for ip in table[host]]
        return [(family, socket.SOCK_STREAM, 6, "", (ip, port)) for family, ip in found]

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return table


@pytest.fixture
def dialled(monkeypatch):
    """Every address that a socket of this process was told to connect to, in order."""
    addresses = []
    real = socket.socket.connect

    def connect(self, address):
        addresses.append(address[0])
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return addresses


@pytest.fixture
def silent():
    """Makes ``[::1]`` answer no connection on a port: a listener that accepts none and whose queue is full."""
    with ExitStack() as stack:

        def start(port=0):
            try:
                listener = socket.create_server(("::1", port), family=socket.AF_INET6, backlog=0)
            except OSError as error:
                pytest.skip(f"cannot listen on ::1 here: {error}")
            stack.enter_context(listener)
            for _ in range(8):
                connection = stack.enter_context(socket.socket(socket.AF_INET6))
                connection.setblocking(False)
                connection.connect_ex(listener.getsockname())
            probe = stack.enter_context(socket.socket(socket.AF_INET6))
            probe.settimeout(0.2)
            if probe.connect_ex(listener.getsockname()) == 0:
                pytest.skip("this system accepts connections for a listener whose queue is full")
            return f"http://[::1]:{listener.getsockname()[1]}/"

        yield start


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """The environment of whoever runs the tests names no proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
