"""Every fault, by both doors: the probe ends by its deadline, names it, shows no secret and leaves nothing behind.

What is wrong with an answer that ends is named in ``test_probe_faults``; here are also those that never end, and those
that come before any answer.
"""

import json
import os
import socket
import struct
import threading
import time
import tracemalloc
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from lmroute.health.stored import to_json
from lmroute.model import Locality, Profile, SecretRef, SecretSource, Timeouts
from lmroute.providers.probe import ErrorCode, Patience, aprobe, probe

SLOW_MACHINE = float(os.environ.get("LMROUTE_TEST_SLOWNESS", "1"))
"""What all grace is multiplied with."""
GRACE_S = 0.25 * SLOW_MACHINE
"""After its deadline a probe is over; a machine that is busy once gets two more chances to show it."""
CHANCES = 3
MOST_MEMORY = 10_000_000

PATIENT = Patience(total_s=5.0, retries=2, pause_s=0.001)
HASTY = Patience(total_s=0.3 * SLOW_MACHINE, retries=0, pause_s=0.001)
"""For what never ends: it runs out."""
REF = SecretRef(SecretSource.ENV, ("LMROUTE_TEST_TOKEN",))
OK = b"HTTP/1.1 200 OK\r\n"
MEGABYTE = b" " * 1_000_000


def asked(how, profile, patience, **options):
    """A probe, by the door that is wanted."""
    if how == "sync":
        return probe(profile, patience=patience, **options)
    return anyio.run(partial(aprobe, profile, patience=patience, **options))


@pytest.fixture(params=["sync", "async"])
def how(request):
    return request.param


def sockets():
    """How many files this process has open, where that can be told."""
    here = Path("/proc/self/fd")
    return len(list(here.iterdir())) if here.exists() else 0


@pytest.fixture(autouse=True, scope="module")
def _warm():
    """What is opened once and kept, by asyncio for instance, is open before anything is counted."""
    for door in ("sync", "async"):
        asked(door, Profile("box", "openai_compatible", "http://127.0.0.1:1", locality=Locality.LOOPBACK), HASTY)


@pytest.fixture
def ends(how, stage):
    """Probe what a function sets up: ``ends(start, patience, most_memory=None) -> result``, with all that always holds.

    ``start`` is called with a stack that takes it down again, and gives an endpoint.
    """

    def check(start, patience, *, memory=False, **fields):
        threads, files = set(threading.enumerate()), sockets()
        took = []
        while len(took) < CHANCES and (not took or min(took) > patience.longest_s + GRACE_S):
            with ExitStack() as world:
                fields = {"endpoint": start(world), "locality": Locality.LOOPBACK, "auth_token": REF} | fields
                profile = Profile("box", "openai_compatible", **fields)
                result, seconds, peak = _measured(how, profile, patience, memory=memory)
                took.append(seconds)
        assert min(took) <= patience.longest_s + GRACE_S
        assert peak < MOST_MEMORY
        assert result.error_code is None or result.error_code in set(ErrorCode)
        assert "SENTINEL" not in repr(result) + json.dumps(to_json(result))
        settles(lambda: stage.connections == 0, "the server still has a connection")
        settles(lambda: set(threading.enumerate()) <= threads | set(stage.serving), "a thread is left behind")
        settles(lambda: sockets() <= files, "a socket is left behind")
        return result

    return check


def _measured(how, profile, patience, *, memory):
    if memory:
        tracemalloc.start()
    since = time.monotonic()
    try:
        result = asked(how, profile, patience)
        return result, time.monotonic() - since, tracemalloc.get_traced_memory()[1] if memory else 0
    finally:
        tracemalloc.stop()


def settles(holds, otherwise):
    """What ends in another thread may take a moment."""
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail(otherwise)


def test_an_answer_that_is_wrong(fault, ends, stage):
    raw, _, code, tries, *_ = fault
    stage.answer = raw
    result = ends(lambda _world: stage.url, PATIENT)
    assert (result.error_code, result.tries) == (code, tries)


# What goes on for ever. A part of an answer, then what comes again and again; without that it hangs.

NEVER = {
    "says nothing": (b"", b""),
    "hangs in the status line": (b"HTTP/1.1 2", b""),
    "drips a status line": (b"HTTP/1.1 200 ", b"x"),
    "slow-loris headers": (OK, b"X: y\r\n"),
    "drips a header": (OK + b"X: ", b"y"),
    "hangs after the headers": (OK + b"Content-Length: 99\r\n\r\n", b""),
    "drips a body": (OK + b"Content-Length: 9999\r\n\r\n", b" "),
    "drips a body without a length": (OK + b"\r\n", b" "),
    "hangs in a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{", b""),
    "drips chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "drips 1xx": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


@pytest.mark.parametrize(("beginning", "drip"), NEVER.values(), ids=NEVER)
def test_an_answer_that_never_ends(beginning, drip, ends, stage):
    def slowly(connection):
        yield beginning
        if drip:
            yield from stage.drip(drip)
        else:
            with suppress(OSError):
                connection.recv(1)  # until the client closes, which it has to

    stage.answer, heads = slowly, len(stage.heads)
    result = ends(lambda _world: stage.url, HASTY)
    if len(stage.heads) > heads:  # else the machine was too slow to ask, which is a timeout as well
        assert (result.error_code, result.tries) == ("timeout", 1)


def test_an_answer_that_drips_and_then_hangs(ends, stage):
    """The last wait is for what is left of the deadline, and not for all of it once more."""

    def late(connection):
        yield OK
        for piece, _ in zip(stage.drip(b"X: y\r\n"), range(25), strict=False):
            yield piece
        with suppress(OSError):
            connection.recv(1)

    stage.answer = late
    ends(lambda _world: stage.url, Patience(total_s=0.6, retries=0))


# Far too much. The server is in this process too: it sends the same bytes again and again.

HUGE = {
    "300 MB": (OK + b"Content-Length: 300000000\r\n\r\n", MEGABYTE, 300, "body_too_large"),
    "no length": (OK + b"\r\n", MEGABYTE, 300, "body_too_large"),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"f4240\r\n" + MEGABYTE + b"\r\n", 300, "body_too_large"),
    "small chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        (b"80\r\n" + b" " * 128 + b"\r\n") * 999,
        99,
        "body_too_large",
    ),
    "headers": (OK, b"X: y\r\n" * 9999, 300, "protocol_error"),
    "a header": (OK + b"X: ", MEGABYTE, 300, "protocol_error"),
    "a status line": (b"HTTP/1.1 200 ", MEGABYTE, 300, "protocol_error"),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 9999, 300, "protocol_error"),
    "an error page": (b"HTTP/1.1 500 Oops\r\n\r\n", MEGABYTE, 300, "body_too_large"),
}


@pytest.mark.parametrize("huge", HUGE.values(), ids=HUGE)
def test_an_answer_of_any_size(huge, ends, stage):
    head, piece, times, code = huge

    def much(_connection):
        yield head
        for _ in range(times):
            yield piece

    stage.answer = much
    assert ends(lambda _world: stage.url, PATIENT, memory=True).error_code == code


@pytest.mark.parametrize("name", ["gzip bomb", "deflate bomb", "deep json", "huge"])
def test_a_bomb(name, faults, ends, stage):
    stage.answer = faults[name][0]
    assert ends(lambda _world: stage.url, PATIENT, memory=True).error_code == faults[name][2]


def test_a_flood_of_1xx_without_an_end(ends, stage):
    """As fast as it goes: it never waits, so no single read ever runs out."""

    def flood(_connection):
        while not stage.stopping.is_set():
            yield b"HTTP/1.1 103 Early Hints\r\n\r\n" * 99

    stage.answer, heads = flood, len(stage.heads)
    result = ends(lambda _world: stage.url, HASTY)
    if len(stage.heads) > heads:
        assert result.error_code == "timeout"


# Connections that break


def reset(connection):
    """Close it so that the other side is told of a reset and not of an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("beginning", [b"", OK, OK + b"Content-Length: 99\r\n\r\n{"], ids=["answer", "head", "body"])
def test_a_reset_instead_of_the(beginning, ends, stage):
    def broken(connection):
        yield beginning
        reset(connection)

    stage.answer = broken
    result = ends(lambda _world: stage.url, PATIENT)
    assert (result.error_code, result.tries) == ("connection_reset", 3)


def accepting(world, treat):
    """The endpoint of a listener that does something to each connection before it has read anything."""
    listener = world.enter_context(socket.create_server(("127.0.0.1", 0)))
    listener.settimeout(0.02)
    stopping = threading.Event()

    def accept():
        while not stopping.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    treat(connection, stopping)

    thread = threading.Thread(target=accept)
    thread.start()
    world.callback(thread.join)
    world.callback(stopping.set)
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_reset_before_the_request(ends):
    result = ends(partial(accepting, treat=lambda connection, _stopping: reset(connection)), PATIENT)
    assert (result.error_code, result.tries) == ("connection_reset", 3)


# Nobody there


def test_a_port_at_which_nobody_listens(ends):
    def start(_world):
        with socket.create_server(("127.0.0.1", 0)) as unused:
            return f"http://127.0.0.1:{unused.getsockname()[1]}"

    assert ends(start, PATIENT).error_code == "connection_refused"


def test_a_black_hole(ends, silent):
    endpoint = silent()
    assert ends(lambda _world: endpoint, HASTY).error_code == "connect_timeout"


def test_a_black_hole_with_less_time_to_connect(how, silent):
    """The profile's own bound ends it long before the try's does."""
    profile = Profile("box", "vllm", silent(), locality=Locality.LOOPBACK, timeouts=Timeouts(connect_s=0.1))
    result = asked(how, profile, Patience(total_s=60.0, retries=0))
    assert result.error_code == "connect_timeout"
    assert result.latency_ms < 30_000


# Names


@pytest.fixture
def resolver(monkeypatch):
    """Has names resolved by a function of the test's own; numbers are left to the real one."""
    real = socket.getaddrinfo

    def replace(fake):
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *a, **k: (fake if "box" in host else real)(host, *a, **k)
        )

    return replace


def test_a_name_that_does_not_exist(ends, resolver):
    def fails(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolver(fails)
    result = ends(lambda _world: "http://box.test:9", PATIENT)
    assert (result.error_code, result.tries) == ("dns_failure", 2)


def test_a_name_without_an_address(ends, resolver):
    resolver(lambda *_args, **_options: [])
    result = ends(lambda _world: "http://box.test:9", PATIENT)
    assert (result.error_code, result.tries) == ("dns_failure", 2)
    assert "box.test has no address" in result.message


def test_a_name_server_that_hangs(ends, resolver):
    released = threading.Event()

    def start(world):
        released.clear()
        world.callback(released.set)
        return "http://box.test:9"

    resolver(lambda *_args, **_options: [][: released.wait(30)])
    assert ends(start, HASTY).error_code == "dns_failure"


def test_another_program_at_the_other_address(ends, serve, names, stage, answer):
    """``localhost`` is two addresses, and what listens at the first one is not the server."""
    stage.answer = answer({"data": [{"id": "m"}]})
    try:
        other = serve(answer(b"<p>Hello"), host="::1")
    except OSError as error:
        pytest.skip(f"cannot listen on ::1 here: {error}")
    names["both.test"] = ["::1", "127.0.0.1"]
    result = ends(lambda _world: f"http://both.test:{other.port}", PATIENT)
    assert result.error_code == "not_json"
    assert "(at ::1)" in result.message
    assert result.fix.startswith("127.0.0.1 may be the server's: write that into providers.box.endpoint; else ")


def test_nobody_at_the_first_address(ends, stage, names, answer):
    stage.answer = answer({"data": [{"id": "m"}]})
    names["both.test"] = ["::1", "127.0.0.1"]
    assert ends(lambda _world: f"http://both.test:{stage.port}", PATIENT).error_code is None


# TLS


@pytest.fixture
def bad_certificate(request, certificates, monkeypatch):
    """A certificate for an address, good for some days, that is or is not trusted here."""
    address, days, trusted = request.param
    pem = certificates(address, days)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    return pem


BAD = {
    "of nobody we know": ("127.0.0.1", 1, False),
    "expired": ("127.0.0.1", -1, True),
    "for another name": ("127.0.0.2", 1, True),
}


@pytest.mark.parametrize("bad_certificate", BAD.values(), ids=BAD, indirect=True)
def test_a_certificate_that_is_wrong(bad_certificate, ends, serve_tls, answer):
    endpoint = serve_tls(bad_certificate, answer({"data": []}))
    result = ends(lambda _world: endpoint, PATIENT)
    assert (result.error_code, result.tries) == ("tls_error", 1)


def test_tls_to_a_server_without(ends):
    def plain(connection, _stopping):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    start = partial(accepting, treat=plain)
    assert ends(lambda world: start(world).replace("http:", "https:"), PATIENT).error_code == "no_tls"


def test_tls_that_hangs(ends):
    start = partial(accepting, treat=lambda _connection, stopping: stopping.wait(30))
    result = ends(lambda world: start(world).replace("http:", "https:"), HASTY)
    assert result.error_code in {"timeout", "connect_timeout"}  # the latter where reading certificates takes all of it


def test_no_tls_to_a_server_with(ends, serve_tls, certificates, answer):
    endpoint = serve_tls(certificates("127.0.0.1"), answer({"data": []})).replace("https:", "http:")
    assert ends(lambda _world: endpoint, PATIENT).error_code in {"protocol_error", "connection_reset"}


# Where requests must not go


def test_a_redirect_is_asked_for_once_and_not_followed(ends, stage, answer):
    heads = len(stage.heads)
    stage.answer = answer(b"", "302 Found", f"Location: {stage.url}/v1/models")
    assert ends(lambda _world: stage.url, PATIENT).error_code == "redirect_refused"
    assert len(stage.heads) == heads + 1


def test_local_traffic_never_goes_through_a_proxy(ends, stage, answer, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    stage.answer = answer({"data": [{"id": "m"}]})
    assert ends(lambda _world: stage.url, PATIENT).error_code is None


# The door for event loops


def test_who_gives_up_waits_no_longer(stage):
    """The probe itself goes on until its own deadline, in its thread, and leaves nothing behind."""
    asked_for = threading.Event()

    def hang(connection):
        asked_for.set()
        with suppress(OSError):
            connection.recv(1)
        return []

    async def give_up():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(aprobe, profile, patience=Patience(total_s=1.0 * SLOW_MACHINE, retries=0)))
            await anyio.to_thread.run_sync(asked_for.wait)
            tasks.cancel_scope.cancel()
        return stage.connections

    stage.answer, threads, files = hang, set(threading.enumerate()), sockets()
    profile = Profile("box", "openai_compatible", stage.url, locality=Locality.LOOPBACK)
    assert anyio.run(give_up) == 1
    settles(lambda: stage.connections == 0, "the server still has a connection")
    settles(lambda: set(threading.enumerate()) <= threads | set(stage.serving), "a thread is left behind")
    settles(lambda: sockets() <= files, "a socket is left behind")


def test_the_event_loop_goes_on_meanwhile(stage, answer):
    """The server answers when the loop says so, which it could not if it were blocked."""
    released = threading.Event()

    def wait(_connection):
        released.wait(30)
        return [answer({"data": [{"id": "m"}]})]

    async def both():
        found = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, found)
            await anyio.lowlevel.checkpoint()
            released.set()
        return found

    async def ask(found):
        found.append(await aprobe(profile, patience=Patience(total_s=25.0, retries=0)))

    stage.answer = wait
    profile = Profile("box", "openai_compatible", stage.url, locality=Locality.LOOPBACK)
    assert [result.error_code for result in anyio.run(both)] == [None]
