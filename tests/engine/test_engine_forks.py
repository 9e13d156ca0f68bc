"""A forked child gets its own answers, waits for nobody who is not there, and leaves the parent's calls alone."""

import asyncio
import json
import os
import select
import signal
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lmroute import forks
from lmroute.engine.children import ProviderEngine
from lmroute.engine.live import Live
from lmroute.engine.live.pins import Pins
from lmroute.engine.provider import Provider, Providers
from lmroute.engine.routing_engine import AsyncRoutingEngine, RoutingEngine
from lmroute.model import Candidate
from lmroute.telemetry.sinks.sink import NoSink

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]
PATIENCE_S = 20


class Echo(ThreadingHTTPServer):
    """Answers with the prompt, each a little later than it could, so that calls overlap."""

    daemon_threads, request_queue_size = True, 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Repeating)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.accepted, self.late = 0, threading.Event()

    def process_request(self, *request):
        self.accepted += 1
        super().process_request(*request)


class Repeating(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.late.wait(0.02)
        choice = {"index": 0, "message": asked["messages"][-1] | {"role": "assistant"}, "finish_reason": "stop"}
        body = json.dumps({"id": "e", "object": "chat.completion", "model": asked["model"], "choices": [choice]})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def echo():
    with Echo() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


@pytest.fixture(params=["sync", "async"])
def router(request, make, echo):
    """An engine with a provider that echoes, and a way to ask it that uses an event loop of its own."""
    stack, live = make.stack(make.profile("echo", endpoint=echo.url)), Live()
    kind = RoutingEngine if request.param == "sync" else AsyncRoutingEngine
    made = kind.of(stack, live, Providers(live.learnt), NoSink())

    def ask(text):
        answer = made.complete(make.ask(text))
        return (asyncio.run(answer) if request.param == "async" else answer).text

    made.asks = ask
    yield made
    if request.param == "sync":
        made.close()


class Children:
    """Forked children. Each does one thing and hands over what came of it; one that hangs is killed."""

    def __init__(self):
        self._pipes = {}

    def begin(self, work):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(write, json.dumps(work()).encode())
            except BaseException as error:  # noqa: BLE001 - whatever it is, the parent shows it
                os.write(write, json.dumps(f"{type(error).__name__}: {error}").encode())
            finally:
                os._exit(0)
        os.close(write)
        self._pipes[child] = read

    def came_to(self):
        """What each came to; ``None`` for one that hung."""
        found = []
        while self._pipes:
            child, pipe = self._pipes.popitem()
            with os.fdopen(pipe, "rb") as said:
                if not select.select([said], [], [], PATIENCE_S)[0]:
                    os.kill(child, signal.SIGKILL)
                words = said.read()
            os.waitpid(child, 0)
            found.insert(0, json.loads(words) if words else None)
        return found


@pytest.fixture
def children():
    made = Children()
    yield made
    made.came_to()


@contextmanager
def held(*locks):
    """In another thread, as a fork may find them."""
    taken, done = threading.Event(), threading.Event()

    def hold():
        with ExitStack() as all_:
            for lock in locks:
                all_.enter_context(lock)
            taken.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_each_child_gets_its_own_answers(router, children, echo):
    assert router.asks("parent") == "parent"
    connections = echo.accepted
    for child in range(4):
        texts = [f"{child}-{n}" for n in range(4)]
        children.begin(lambda texts=texts: [router.asks(text) for text in texts])
    assert children.came_to() == [[f"{child}-{n}" for n in range(4)] for child in range(4)]
    connected = echo.accepted
    assert connected >= connections + 4
    assert router.asks("again") == "again"
    if isinstance(router, RoutingEngine):
        assert echo.accepted == connected  # on the connection that it had before


def test_a_lock_that_is_held_is_free_in_a_child(router, children):
    """All of them at once, and those of DSPy and the pool."""
    assert router.asks("parent") == "parent"
    locks = [one._lock for one in list(forks._ALL) if hasattr(one, "_lock")]
    locks += [one._asking for one in list(forks._ALL) if hasattr(one, "_asking")]
    if isinstance(router, RoutingEngine):
        built = router.children["echo"]._built
        locks += [built.engine._lock, built.transport._pool._optional_thread_lock]
    with held(*locks):
        children.begin(lambda: router.asks("child"))
        assert children.came_to() == ["child"]
    assert router.asks("again") == "again"


def test_forks_while_threads_call(router, children):
    ended, wrong = threading.Event(), []

    def call(name):
        while not ended.is_set():
            if (answer := router.asks(name)) != name:
                wrong.append(answer)

    threads = [threading.Thread(target=call, args=(f"thread {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for n in range(12):
            children.begin(lambda n=n: router.asks(f"child {n}"))
        assert children.came_to() == [f"child {n}" for n in range(12)]
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_stream_that_the_parent_reads_is_the_parents(make, server, children):
    """Though the child has a copy of it, half read, and throws it away."""
    server.answers([server.sse_head, server.sse(server.chunk("he")), server.pause(0.3), *server.good_stream[1:]])
    engine = ProviderEngine(Provider(server.profile()))
    events = engine.stream(make.ask())
    start, first = next(events), next(events)
    with held(engine._built.transport._pool._optional_thread_lock):
        children.begin(lambda: (events.close(), engine.close(), "well")[2])
        assert children.came_to() == ["well"]
    assert make.text([start, first, *events]) == "hehello"
    engine.close()


def test_a_child_that_reads_on_reads_nothing(make, server, children):
    server.answers([server.sse_head, server.sse(server.chunk("he")), server.pause(0.3), *server.good_stream[1:]])
    engine = ProviderEngine(Provider(server.profile()))
    events = engine.stream(make.ask())
    start, first = next(events), next(events)
    children.begin(lambda: make.text(events))
    (found,) = children.came_to()
    assert found.startswith("TransportError")
    assert make.text([start, first, *events]) == "hehello"
    engine.close()


def test_the_server_sees_the_parent_go_while_a_child_lives(make, server, children):
    server.answers(server.http(server.chat()))
    engine = ProviderEngine(Provider(server.profile()))
    engine.complete(make.ask())
    read, write = os.pipe()
    children.begin(lambda: os.read(read, 1).decode())
    try:
        assert server.connections() == 1
        engine.close()
        assert server.settles_at(0)
    finally:
        os.write(write, b"x")
        os.close(write)
        os.close(read)
    assert children.came_to() == ["x"]


def test_calls_under_way_are_the_parents(make, children):
    """Or they would be counted in the child for ever."""
    live, profile, candidate = Live(), make.profile(concurrency=1), Candidate("a", "m")
    turn = live.turn(candidate, profile)
    assert list(turn.waits(float("inf"))) == []

    def look():
        load, admits = live.facts(0.0).load.get(candidate, 0), live.admits(candidate, profile, 0.0)
        turn.end()  # that of a stream, say, which the child throws away
        return [load, admits, live.facts(0.0).load.get(candidate, 0)]

    with held(live._slots._lock):
        children.begin(look)
        assert children.came_to() == [[0, True, 0]]
    assert live.facts(0.0).load[candidate] == 1
    assert not live.admits(candidate, profile, 0.0)
    turn.end()


def test_a_first_call_of_the_parent_is_waited_for_by_nobody_in_a_child(children):
    pins = Pins()
    assert pins.claim("rule") is None
    children.begin(lambda: pins.claim("rule") is None)
    assert children.came_to() == [True]
    assert pins.claim("rule") is not None


def test_a_question_of_the_parents_is_asked_again(make, children):
    """Whoever is at it will not tell the child what came of it."""
    readiness = Provider(make.profile()).readiness
    with held(readiness._asking):
        children.begin(lambda: readiness._asking.acquire(timeout=0))
        assert children.came_to() == [True]


@pytest.mark.slow
def test_litellms_connections_are_the_parents_too(make, children, echo, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0000")
    profile = make.profile("lite", type="litellm", endpoint=echo.url, models=("openai/m",))
    engine = ProviderEngine(Provider(profile))

    def asks(text):
        return engine.complete(make.ask(text, model="openai/m")).text

    assert asks("parent") == "parent"
    for child in range(4):
        texts = [f"{child}-{n}" for n in range(4)]
        children.begin(lambda texts=texts: [asks(text) for text in texts])
    assert children.came_to() == [[f"{child}-{n}" for n in range(4)] for child in range(4)]
    assert asks("again") == "again"
    engine.close()
