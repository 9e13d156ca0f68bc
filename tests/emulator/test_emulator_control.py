"""The emulator's own endpoint, its page, its clock."""

import asyncio
import json
import re
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.machine.clock import ManualClock
from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings, Token
from lmroute.errors import LmrouteError
from lmroute.model import Secret

CONTROL = "/lmroute-emulator"
TERN, HERON = SCRIPTED[0].key, SCRIPTED[1].key


def test_the_state_tells_what_is_there_and_what_was_asked_but_no_text(emulate):
    client = emulate(Settings(clock="manual"))
    client.ask(messages=[{"role": "user", "content": "a secret prompt"}], model=HERON, ttl=60)
    client.get("/nowhere?secret=1")
    client.advance(20)

    state = client.state()

    assert (state["profile"], state["clock"], state["waiting"]) == ("0.4.25", "manual", 0)
    assert [model["key"] for model in state["models"]] == [model.key for model in SCRIPTED]
    tern, heron = state["instances"]
    assert (tern["id"], tern["jit"], tern["ttl_s"], tern["remaining_ttl_s"]) == (TERN, False, None, None)
    assert (heron["id"], heron["jit"], heron["ttl_s"], heron["remaining_ttl_s"]) == (HERON, True, 60, 40)
    assert (heron["status"], heron["queued"], heron["parallel"], heron["context_length"]) == ("idle", 0, 4, 4096)
    assert state["requests"] == [
        {"method": "POST", "path": "/v1/chat/completions", "status": 200},
        {"method": "GET", "path": "/nowhere", "status": 200},
    ]
    assert "secret" not in str(state)


def test_only_the_last_requests_are_kept(emulate):
    client = emulate()
    for number in range(60):
        client.get(f"/{number}")

    assert [seen["path"] for seen in client.state()["requests"]] == [f"/{number}" for number in range(10, 60)]


def test_the_page_is_whole_and_readable_without_sight(emulate):
    client = emulate()
    client.set_faults(drip=123456, reset_after_bytes=0, path="/elsewhere")
    client.get("/<b>&")

    reply = client.get(CONTROL)
    page = ET.fromstring(re.sub("<(!DOCTYPE|meta)[^>]*>", "", reply.text).strip())

    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert page.get("lang") == "en"
    assert len(page.findall(".//h1")) == len(page.findall(".//main")) == 1
    tables = page.findall(".//table")
    assert tables
    for table in tables:
        assert table.find("caption/h2").text
        assert all(head.get("scope") == "col" for head in table.findall("thead/tr/th"))
        assert all(row.find("th").get("scope") == "row" for row in table.findall("tbody/tr"))
    assert page.findall(".//script") == []
    text = "".join(page.itertext())
    assert all(word in text for word in (TERN, "drip", "123456", "reset_after_bytes", "/<b>&", "0.4.25"))


def test_no_token_is_asked_for(emulate):
    locked = Settings(require_auth=True, tokens=(Token(Secret("sk-lm-AbCd1234:abcdefghij0123456789")),))

    assert emulate(locked).state()["require_auth"] is True


@pytest.mark.parametrize("path", ["", "/state"])
@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Host": "evil.example:1234"}, {"Origin": "http://evil"}]
)
def test_other_sites_are_kept_out(client, path, headers):
    reply = client.get(CONTROL + path, headers=headers)

    assert reply.status_code == 403
    assert "control endpoint" in reply.json()["error"]


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:99", "[::1]:5"])
def test_this_machine_has_several_names(client, host):
    assert client.get(f"{CONTROL}/state", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("port", ["", ":4321"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_a_page_of_the_same_server_may_call_it_by_another_name(client, name, host, port):
    headers = {"Host": host + port, "Origin": f"http://{name}{port}"}

    assert client.get(f"{CONTROL}/state", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example:4321",
        "http://localhost.evil.example:4321",
        "http://localhost:4322",
        "http://localhost",
        "http://localhost:99999",
        "http://localhost:many",
        "https://127.0.0.1:4321",
        "http://localhost@evil.example:4321",
        "127.0.0.1:4321",
    ],
)
def test_pages_of_other_servers_are_kept_out_on_this_machine_too(client, origin):
    headers = {"Host": "127.0.0.1:4321", "Origin": origin}

    reply = client.post(f"{CONTROL}/clock", headers=headers, json={})

    assert (reply.status_code, "other sites" in reply.json()["error"]) == (403, True)


@pytest.mark.parametrize(
    ("path", "wrong", "allowed"),
    [
        ("", ("POST", "DELETE"), "GET, HEAD"),
        ("/state", ("PUT", "OPTIONS"), "GET, HEAD"),
        ("/faults", ("GET", "POST"), "PUT"),
        ("/reset", ("GET", "PUT", "HEAD"), "POST"),
    ],
)
def test_a_wrong_method_is_405_and_told_what_is_right(client, path, wrong, allowed):
    replies = [client.request(method, CONTROL + path) for method in wrong]

    assert [(reply.status_code, reply.headers["allow"]) for reply in replies] == [(405, allowed)] * len(wrong)
    assert replies[0].json() == {"error": f"{CONTROL}{path} takes {allowed}, not {wrong[0]}"}


@pytest.mark.parametrize("path", ["/", "/nowhere", "/state/", "/faults/drip"])
def test_an_unknown_path_of_its_own_is_404_with_those_there_are(client, path):
    reply = client.post(CONTROL + path)

    assert reply.status_code == 404
    assert reply.json()["error"].startswith(f"the control endpoint has no {CONTROL}{path}; there are {CONTROL}, ")
    assert f"{CONTROL}/reset" in reply.json()["error"]


def test_what_only_begins_like_it_is_for_lm_studio(client):
    assert client.get(f"{CONTROL}s").status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_is_refused(client, chunked):
    body = b'{"advance_s": "' + b" " * 1_000_000

    reply = client.post(f"{CONTROL}/clock", content=iter([body]) if chunked else body)

    assert (reply.status_code, "longer than 1000000 bytes" in reply.json()["error"]) == (413, True)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", '{"advance_s": 1e999}'),
        ("clock", '{"advance_s": NaN}'),
        ("clock", json.dumps({"advance_s": 10**400})),
        ("load", json.dumps({"model": TERN, "ttl_s": 10**400})),
        ("load", json.dumps({"model": TERN, "identifier": ""})),
        ("load", json.dumps({"model": TERN, "identifier": " "})),
    ],
    ids=str,
)
def test_nonsense_is_refused_and_changes_nothing(emulate, path, body):
    client = emulate(Settings(clock="manual"))

    assert client.post(f"{CONTROL}/{path}", content=body).status_code == 400
    assert [instance["id"] for instance in client.state()["instances"]] == [TERN]


def test_the_real_clock_is_not_advanced(client):
    reply = client.post(f"{CONTROL}/clock", json={"advance_s": 1})

    assert (reply.status_code, "--manual-clock" in reply.json()["error"]) == (400, True)


@pytest.mark.parametrize("body", [{}, {"advance_s": -1}, {"advance_s": "1"}, {"advance_s": 1, "by": 2}])
def test_the_clock_takes_seconds_and_nothing_else(client, body):
    assert client.post(f"{CONTROL}/clock", json=body).status_code == 400


def test_a_model_can_be_loaded_as_lms_loads_it(emulate):
    client = emulate(Settings(clock="manual"))

    load = {"model": HERON, "identifier": "mine", "context_length": 99, "parallel": 2, "ttl_s": 60}
    client.control("POST", "load", **load)
    client.control("POST", "load", model=HERON)
    client.ask(model=SCRIPTED[3].key)  # evicts neither
    _, mine, second, _ = client.state()["instances"]
    client.advance(61)

    assert (mine["id"], mine["context_length"], mine["parallel"], mine["jit"], mine["ttl_s"]) == (
        "mine",
        99,
        2,
        False,
        60,
    )
    assert second["id"] == HERON
    assert "mine" not in [instance["id"] for instance in client.state()["instances"]]
    assert client.control("POST", "unload", instance_id=HERON)["instances"][-1]["id"] == SCRIPTED[3].key
    assert client.post(f"{CONTROL}/unload", json={"instance_id": HERON}).status_code == 404
    assert client.post(f"{CONTROL}/load", json={"model": "nobody"}).status_code == 404


def test_reset_puts_everything_back(emulate):
    client = emulate(Settings(clock="manual", load_seconds=5))
    start = client.state()
    client.set_faults(html_500=True, path="/nothing")
    client.control("POST", "unload", instance_id=TERN)
    client.post("/api/v1/models/download", json={"model": "rookery/plover-1b-instruct"})
    client.advance(10)

    client.control("POST", "reset")

    now = client.state()
    for state in (start, now):
        state["instances"][0].pop("last_used_ms")
    assert now == start


def test_reset_ends_a_load_that_is_under_way(emulate):
    client = emulate(Settings(clock="manual", load_seconds=5))
    with ThreadPoolExecutor() as pool:
        loading = pool.submit(client.post, "/api/v1/models/load", json={"model": HERON})
        client.wait_for(lambda state: state["waiting"])
        client.control("POST", "reset")
        reply = loading.result(10)

    assert reply.json()["error"]["message"].endswith("Error: Operation canceled.")
    assert [instance["id"] for instance in client.state()["instances"]] == [TERN]


def test_a_running_emulator_can_be_told_things():
    with running(Settings(clock="manual", ttl_s=7)) as emulator:
        emulator.set_faults(html_500=True)
        emulator.advance(3)
        with_fault = emulator.state()["faults"]["html_500"]
        with pytest.raises(LmrouteError, match="no fault is called 'hnag'"):
            emulator.set_faults(hnag=True)
        with pytest.raises(LmrouteError, match="advance_s"):
            emulator.advance(-1)
        emulator.reset()

        assert with_fault is True
        assert emulator.state()["faults"]["html_500"] is False


@given(st.lists(st.integers(0, 100), max_size=8), st.lists(st.integers(0, 50), max_size=5))
def test_a_manual_clock_wakes_everybody_at_the_time_they_waited_for(waits, steps):
    async def live():
        clock, woken = ManualClock(), []
        start = clock()

        async def wait(seconds):
            due = clock() + seconds
            await clock.sleep(seconds)
            woken.append((due, clock()))

        tasks = [asyncio.create_task(wait(seconds)) for seconds in waits]
        await asyncio.sleep(0)
        for step in steps:
            await clock.advance(step)
        now = clock()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return start, now, woken

    start, now, woken = asyncio.run(live())
    assert now == start + sum(steps)
    assert len(woken) == sum(start + seconds <= now for seconds in waits)
    assert all(due == at for due, at in woken)
    assert [at for _, at in woken] == sorted(at for _, at in woken)


def test_what_starts_to_wait_while_the_clock_goes_on_is_woken_in_time_too():
    async def live():
        clock, woken = ManualClock(), []
        start = clock()

        async def chain():
            for _ in range(3):
                await clock.sleep(2)
                woken.append(clock() - start)

        task = asyncio.create_task(chain())
        await asyncio.sleep(0)
        await clock.advance(100)
        await task
        return woken

    assert asyncio.run(live()) == [2, 4, 6]
