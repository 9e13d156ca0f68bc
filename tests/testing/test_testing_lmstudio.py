"""The pytest fixtures, used as their users use them."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from lmroute.emulator.catalog import Model
from lmroute.emulator.control.remote import Refused
from lmroute.errors import LmrouteError

TERN = "rookery/tern-3b-instruct"
HERON = "rookery/heron-8b-instruct"
TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"


@pytest.fixture
def ask():
    """Asks a server: ``ask(server, text, **fields)``."""
    with httpx.Client(trust_env=False, timeout=20) as client:

        def post(server, text="hello there", token="", **fields):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            body = {"messages": [{"role": "user", "content": text}], **fields}
            return client.post(f"{server.base_url}/chat/completions", json=body, headers=headers)

        yield post


def said(answer):
    return answer.json()["choices"][0]["message"]["content"]


def ids_of(server):
    return [instance["id"] for instance in server.state()["instances"]]


def test_it_answers_and_tells_what_it_was_asked(lmstudio, ask):
    answer = ask(lmstudio, model=TERN, temperature=0.5)

    (request,) = lmstudio.requests
    assert said(answer) == "You said: hello there"
    assert (request.method, request.path, request.json["temperature"]) == ("POST", "/v1/chat/completions", 0.5)
    assert request.headers["content-type"] == "application/json"


def test_requests_without_a_body_and_refused_ones_are_told_too(start_lmstudio):
    server = start_lmstudio(token=TOKEN)

    refused = httpx.get(f"{server.base_url}/models", trust_env=False)

    assert refused.status_code == 401
    assert [(request.method, request.path, request.body) for request in server.requests] == [("GET", "/v1/models", b"")]


def test_what_it_was_asked_shows_no_token(start_lmstudio, ask):
    server = start_lmstudio(token=TOKEN)

    assert ask(server, token=TOKEN).status_code == 200
    assert TOKEN not in repr(server.requests)
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_async_tests_use_it_the_same_way(lmstudio):
    async def program():
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            lmstudio.load(HERON)
            await client.get(f"{lmstudio.base_url}/models")
            return ids_of(lmstudio)

    assert asyncio.run(program()) == [TERN, HERON]
    assert [request.path for request in lmstudio.requests] == ["/v1/models"]


def test_models_come_and_go(lmstudio):
    assert lmstudio.load(TERN) == f"{TERN}:2"
    assert lmstudio.load(HERON, identifier="mine", context_length=2048, parallel=2, ttl_s=60) == "mine"
    lmstudio.unload(TERN)

    assert ids_of(lmstudio) == [f"{TERN}:2", "mine"]
    mine = lmstudio.state()["instances"][-1]
    assert (mine["context_length"], mine["parallel"], mine["ttl_s"]) == (2048, 2, 60)


def test_time_passes_when_it_is_told_to(lmstudio, ask):
    ask(lmstudio, model=HERON, ttl=60)
    lmstudio.advance(59)
    before = ids_of(lmstudio)
    lmstudio.advance(2)

    assert (before, ids_of(lmstudio)) == ([TERN, HERON], [TERN])


def test_a_load_that_takes_time_waits_for_another_thread_to_let_it_pass(start_lmstudio):
    server = start_lmstudio(load_seconds=10)
    loading = threading.Thread(target=server.load, args=(HERON,))
    loading.start()
    try:
        assert any(server.state()["waiting"] for _ in range(2000))
        before = ids_of(server)
    finally:
        server.advance(10)
        loading.join()

    assert (before, ids_of(server)) == ([TERN], [TERN, HERON])


def test_faults_come_and_go(lmstudio, ask):
    lmstudio.faults(html_500=True)
    broken = ask(lmstudio)
    lmstudio.faults()

    assert (broken.status_code, ask(lmstudio).status_code) == (500, 200)


def test_a_fault_that_does_not_exist_is_told_with_those_that_do(lmstudio):
    with pytest.raises(Refused, match=r"no fault is called 'html500'.*html_500"):
        lmstudio.faults(html500=True)


def test_a_script_may_be_data_or_a_file(start_lmstudio, ask, tmp_path):
    lines = [{"match": "weather", "reply": {"sky": "grüße, 你好 🙂\nand more"}}, {"regex": "^h", "reply": "yes"}]
    file = tmp_path / "mine.yaml"
    file.write_text("- {match: hello, reply: from a file}\n", encoding="utf-8")

    server = start_lmstudio(script=lines)

    assert json.loads(said(ask(server, "the weather"))) == lines[0]["reply"]
    assert said(ask(server)) == "yes"
    assert said(ask(start_lmstudio(script=file))) == "from a file"


def test_two_servers_with_settings_of_their_own(start_lmstudio, ask):
    old = start_lmstudio(profile="0.3.31", models=["mine/a", Model("mine/b")])
    strict = start_lmstudio(models=["mine/c"], jit=False, loaded=())

    assert (old.state()["profile"], ids_of(old)) == ("0.3.31", ["mine/a"])
    assert "No models loaded" in ask(strict, model="mine/c").text
    assert (len(old.requests), len(strict.requests)) == (0, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"profile": "0.5"}, "no profile '0.5'; take one of 0.3.5, 0.3.31, 0.4.25"),
        ({"profile": "0.3.31", "token": TOKEN}, "0.3.31 had no API tokens"),
        ({"script": [{"match": "x"}]}, "script.yaml:1: a line needs a reply"),
    ],
)
def test_settings_that_make_no_server_are_told(start_lmstudio, wrong, message):
    with pytest.raises(LmrouteError, match=message):
        start_lmstudio(**wrong)


@pytest.mark.skipif(sys.platform == "win32", reason="runs the script of the other systems")
def test_a_program_that_runs_lms_finds_this_server(lmstudio, tmp_path):
    script = lmstudio.install_lms(tmp_path / "bin")

    done = subprocess.run([script, "ps", "--json"], capture_output=True, text=True, timeout=60, check=True)

    assert [item["identifier"] for item in json.loads(done.stdout)] == [TERN]


PROJECT = {
    "conftest.py": 'pytest_plugins = ["lmroute.testing.lmstudio"]\n',
    "test_mine.py": """
from urllib.request import urlopen

def test_sync(lmstudio):
    urlopen(lmstudio.base_url + "/models").close()
    assert [request.path for request in lmstudio.requests] == ["/v1/models"]

def test_another_server(start_lmstudio, lmstudio):
    assert start_lmstudio(models=["mine/a"]).url != lmstudio.url
    assert lmstudio.requests == []
""",
}


@pytest.mark.slow
def test_a_project_of_somebody_else_switches_them_on(tmp_path: Path):
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert "2 passed" in done.stdout, done.stdout


def test_lmroute_itself_does_not_need_pytest():
    code = "import sys, lmroute.cli.emulator, lmroute.emulator.running; sys.exit('pytest' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
