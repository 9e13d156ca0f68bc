"""L23: servers that hang, drip, break off, or answer something else than they say."""

import asyncio
import json
import threading

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.emulator.faults import FAULT_NAMES, NONE, Faults, fault_option, read_faults
from lmroute.emulator.settings import Settings, Token
from lmroute.errors import LmrouteError
from lmroute.model import Secret

MODELS = "/v1/models"


@pytest.fixture(scope="module")
def faulty(shared):
    """The client of an emulator of this file's own."""
    return shared(Settings(ttl_s=77))


@pytest.fixture
def broken(faulty):
    """Gives the emulator faults, and takes them away again: ``broken(hang=True) -> client``."""

    def give(**faults):
        faulty.set_faults(**faults)
        return faulty

    yield give
    faulty.set_faults()


@pytest.mark.parametrize("path", [MODELS, "/nowhere", "/lmstudio-greeting"])
def test_l23_a_server_that_hangs_says_nothing(broken, path):
    client = broken(hang=True)

    with pytest.raises(httpx.ReadTimeout):
        client.get(path, timeout=0.1)

    assert client.state()["requests"][-1] == {"method": "GET", "path": path, "status": None}


def test_l23_a_reset_comes_after_so_many_bytes(broken):
    client = broken(reset_after_bytes=10)

    heard = []
    with client.stream("GET", MODELS) as response, pytest.raises(httpx.ReadError):
        heard.extend(response.iter_raw())

    assert response.status_code == 200
    assert len(b"".join(heard)) <= 10


def test_l23_a_stream_can_be_reset(broken):
    client = broken(reset_after_bytes=300)

    with pytest.raises(httpx.ReadError):
        client.stream_bytes()


def test_l23_a_slow_server_drips(broken):
    client = broken(drip=4000)

    with client.stream("GET", MODELS) as response:
        parts = list(response.iter_raw())

    whole = b"".join(parts)
    assert json.loads(whole)["object"] == "list"
    assert len(whole) == int(response.headers["content-length"])
    assert len(parts) > 1
    assert response.elapsed.total_seconds() >= len(whole) / 4000 * 0.9


def test_l23_a_crash_is_a_page_of_html(broken):
    reply = broken(html_500=True).ask()

    assert reply.status_code == 500
    assert reply.headers["content-type"].startswith("text/html")
    assert "<pre>Internal Server Error</pre>" in reply.text


def test_l23_json_can_be_cut_short(broken):
    client = broken(truncated_json=True)

    reply, (status, _, stream) = client.get(MODELS), client.stream_bytes()

    assert reply.status_code == status == 200
    with pytest.raises(json.JSONDecodeError):
        reply.json()
    assert stream.startswith(b"data: {")
    assert b"\n\n" not in stream


def test_a_fault_can_be_for_the_next_requests_only(broken):
    client = broken(html_500=True, times=2)

    assert [client.get(MODELS).status_code for _ in range(3)] == [500, 500, 200]
    assert client.state()["faults"]["html_500"] is False


def test_a_fault_can_be_for_one_path_only(broken):
    client = broken(html_500=True, times=1, path="/api/v1/models")

    statuses = [client.get(path).status_code for path in (MODELS, "/api/v1/models", "/api/v1/models")]

    assert statuses == [200, 500, 200]


def test_the_control_endpoint_has_no_faults(broken):
    assert broken(hang=True).state()["faults"]["hang"] is True


def connections_used(client, wait):
    """Ports that two requests came from, with ``wait()`` between them."""
    with httpx.Client(base_url=client.base_url, trust_env=False) as own:
        ports = []
        for step in (wait, lambda _: None):
            with own.stream("GET", MODELS) as response:
                response.read()
                stream = response.extensions["network_stream"]
                ports.append(stream.get_extra_info("socket").getsockname()[1])
                keep_alive = response.headers["keep-alive"]
            step(stream)
    return ports, keep_alive


def until_closed(stream):
    assert stream.get_extra_info("socket").recv(1) == b""  # blocks until the server hangs up


def test_an_idle_connection_is_closed(broken):
    ports, keep_alive = connections_used(broken(keep_alive_s=0.05), until_closed)

    assert keep_alive == "timeout=0.05"
    assert ports[0] != ports[1]


def test_a_connection_that_does_not_idle_is_kept(broken):
    ports, keep_alive = connections_used(broken(), lambda _: None)

    assert keep_alive == "timeout=5"
    assert ports[0] == ports[1]


def test_the_greeting_can_be_made_to_need_a_token(emulate):
    token = "sk-lm-AbCd1234:abcdefghij0123456789"
    client = emulate(Settings(require_auth=True, tokens=(Token(Secret(token)),)))
    free = client.get("/lmstudio-greeting").status_code
    client.set_faults(greeting_needs_token=True)

    assert free == 200
    assert client.get("/lmstudio-greeting").status_code == 401
    assert client.get("/lmstudio-greeting", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_faults_can_be_there_from_the_start(emulate):
    assert emulate(Settings(faults=Faults(html_500=True))).get(MODELS).status_code == 500


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hnag": True}, "no fault is called 'hnag'; there are path, times, hang"),
        ({"hang": 1}, "fault 'hang' must be true or false"),
        ({"drip": "fast"}, "fault 'drip' must be a whole number or null"),
        ({"drip": 0}, "fault 'drip' must be at least 1, not 0"),
        ({"times": 0}, "fault 'times' must be at least 1, not 0"),
        ({"keep_alive_s": 0}, "fault 'keep_alive_s' must be more than 0 seconds"),
        ({"keep_alive_s": 10**400}, "fault 'keep_alive_s' must be more than 0 seconds and at most 1000000000"),
        ({"path": "v1"}, "fault 'path' must start with a slash"),
        ({"download": "eaten"}, "fault 'download' must be one of paused, failed, not 'eaten'"),
    ],
)
def test_a_fault_that_cannot_be_is_told_by_name(faulty, fields, message):
    reply = faulty.put("/lmroute-emulator/faults", json=fields)

    assert reply.status_code == 400
    assert message in reply.json()["error"]
    with pytest.raises(LmrouteError, match=message[:20]):
        read_faults(fields)


@pytest.mark.parametrize("number", ["1e999", "NaN", "Infinity"])
def test_a_number_that_json_does_not_have_is_no_fault(faulty, number):
    reply = faulty.put("/lmroute-emulator/faults", content=f'{{"keep_alive_s": {number}}}')

    assert reply.status_code == 400
    assert faulty.state()["faults"]["keep_alive_s"] is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hang", ("hang", True)),
        ("drip=100", ("drip", 100)),
        ("keep_alive_s=0.5", ("keep_alive_s", 0.5)),
        ("path=/v1/models", ("path", "/v1/models")),
        ("html_500=false", ("html_500", False)),
    ],
)
def test_a_fault_can_be_written_on_a_command_line(text, expected):
    assert fault_option(text) == expected


@given(st.dictionaries(st.sampled_from(FAULT_NAMES), st.none() | st.booleans() | st.integers() | st.text(max_size=3)))
def test_faults_are_read_or_refused_and_nothing_else(values):
    try:
        faults, told = read_faults(values), ""
    except LmrouteError as error:
        faults, told = None, str(error)

    if faults is None:
        assert any(f"'{name}'" in told for name in values)
    else:
        assert all(getattr(faults, name) == value for name, value in values.items())
        assert values or faults == NONE


def test_l22_every_chat_route_stops_when_its_client_goes_away(emulate):
    stopped = threading.Semaphore(0)

    class Endless:
        async def generate(self, prompt):
            try:
                while True:
                    yield "word "
                    await asyncio.sleep(0.001)
            finally:
                stopped.release()

        async def aclose(self):
            pass

    client = emulate(backend=Endless())
    model = client.state()["instances"][0]["id"]
    bodies = {
        "/v1/chat/completions": {"messages": []},
        "/v1/completions": {"prompt": "x"},
        "/v1/responses": {"input": "x"},
        "/v1/messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9},
        "/api/v1/chat": {"input": "x"},
    }
    for path, body in bodies.items():
        with client.stream("POST", path, json={"model": model, "stream": True, **body}) as response:
            next(response.iter_raw())
        assert stopped.acquire(timeout=5), path
    client.wait_for(lambda state: state["instances"][0]["queued"] == 0)
