"""The real thing: llama.cpp with the default weights, shared, repeatable, and gone when nobody holds it."""

import os
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from lmroute.errors import EmbeddedUnavailable
from lmroute.providers.embedded import EmbeddedServer
from lmroute.providers.embedded.serve import threads
from lmroute.providers.embedded.weights import SMOLLM2, sha256

pytestmark = pytest.mark.slow

QUESTIONS = [
    "Tell me a story about a lighthouse keeper.",
    "Which city is the capital of Germany?",
    "Write a short poem on rain.",
]
LONG = "Remember the rules of the house: be kind, be short, answer in English. " * 20
"""Long enough for attention to be split between threads, where that is switched on."""
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="kills the way POSIX does")


@pytest.fixture
def server(real_model, cache):
    with EmbeddedServer.acquire(real_model) as acquired:
        yield acquired


def get(server, path, key=None):
    headers = {"Authorization": f"Bearer {key or server.api_key.reveal()}"}
    return httpx.get(server.base_url + path, headers=headers, timeout=60)


def ask(server, question, system=None, **more):
    """The text and the log probabilities of its tokens."""
    body = {
        "model": server.model_id,
        "max_tokens": 32,
        "logprobs": True,
        "messages": [
            *([{"role": "system", "content": system}] if system else []),
            {"role": "user", "content": question},
        ],
    }
    headers = {"Authorization": f"Bearer {server.api_key.reveal()}"}
    reply = httpx.post(f"{server.base_url}/v1/chat/completions", headers=headers, json={**body, **more}, timeout=60)
    choice = reply.raise_for_status().json()["choices"][0]
    return choice["message"]["content"], [token["logprob"] for token in choice["logprobs"]["content"]]


def test_the_weights_are_the_pinned_ones(real_model):
    assert sha256(real_model) == SMOLLM2.model_sha256
    assert "Apache License" in real_model.with_suffix(".LICENSE").read_text(encoding="utf-8")


def test_it_answers_who_has_the_key_and_nobody_else(server):
    assert "Berlin" in ask(server, "Which city is the capital of Germany?")[0]
    assert get(server, "/v1/models", key="wrong").status_code == 401
    assert [each["id"] for each in get(server, "/v1/models").json()["data"]] == [server.model_id]
    assert server.base_url.startswith("http://127.0.0.1:")
    assert "***" in repr(server.api_key)


def test_no_web_page_may_talk_to_it(server):
    reply = httpx.get(f"{server.base_url}/health", headers={"Origin": "http://evil.example"}, timeout=60)
    assert reply.headers.get("access-control-allow-origin") in (None, "")


def test_neither_the_key_nor_the_prompt_is_written_anywhere_but_the_private_lease(server, cache):
    ask(server, "Tell me about zebras")
    with pytest.raises(httpx.HTTPStatusError):
        ask(server, "zebras " * 5000)  # too long: an error, and errors are logged
    for file in (cache / "run").iterdir():
        content = file.read_text()
        assert "zebra" not in content
        assert server.api_key.reveal() not in content or file.suffix == ".json"


@pytest.mark.parametrize(("wanted", "given"), [(2048, 2048), (100_000, 8192)])
def test_the_window_is_what_was_wanted_as_far_as_the_model_goes(real_model, cache, wanted, given):
    with EmbeddedServer.acquire(real_model, context_window=wanted) as server:
        assert server.context_window == given
        assert get(server, "/props").json()["default_generation_settings"]["n_ctx"] == given


def test_equal_requests_get_equal_answers_in_any_order_and_company(server):
    first = {question: ask(server, question) for question in QUESTIONS}
    assert [ask(server, question) for question in reversed(QUESTIONS)] == list(first.values())[::-1]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda question: ask(server, question), QUESTIONS)) == list(first.values())
    assert len({text for text, _ in first.values()}) == len(QUESTIONS)


def test_nothing_of_an_earlier_prompt_is_reused(server):
    body = {"max_tokens": 1, "messages": [{"role": "user", "content": LONG}]}
    headers = {"Authorization": f"Bearer {server.api_key.reveal()}"}
    for _ in range(2):
        reply = httpx.post(f"{server.base_url}/v1/chat/completions", headers=headers, json=body, timeout=60).json()
        assert reply["timings"]["prompt_n"] == reply["usage"]["prompt_tokens"] > 200


def test_equal_requests_get_equal_answers_whatever_the_number_of_threads(real_model, server, tmp_path):
    here = ask(server, QUESTIONS[0], LONG)
    large = Path(shutil.copy(real_model, tmp_path / "large.gguf"))
    os.truncate(large, 1_100_000_000)  # a hole behind the weights: the same model, but taken for a big one
    assert threads(large.stat().st_size)[0] == min(4, threads(2**40)[0])
    with EmbeddedServer.acquire(large) as other:
        assert other.pid != server.pid
        assert ask(other, QUESTIONS[0], LONG) == here


def test_sampling_repeats_too_unless_a_seed_says_otherwise(server):
    hot = {"temperature": 1.0, "max_tokens": 12}
    assert ask(server, QUESTIONS[0], **hot) == ask(server, QUESTIONS[0], **hot)
    assert ask(server, QUESTIONS[0], **hot) != ask(server, QUESTIONS[0], **hot, seed=7)


def test_threads_of_one_process_share_one_server_until_the_last_lets_go(real_model, cache, answers):
    with ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(lambda _: EmbeddedServer.acquire(real_model), range(4)))
    assert len({server.pid for server in servers}) == 1
    for server in servers[1:]:
        server.close()
        server.close()  # twice is once
    assert get(servers[0], "/health").status_code == 200
    servers[0].close()
    assert not answers(servers[0].base_url)


def test_no_zombie_stays_after_the_server_has_ended(real_model, cache):
    with EmbeddedServer.acquire(real_model) as server:
        assert Path(f"/proc/{server.pid}").exists() or not Path("/proc/self").exists()
    if sys.platform != "win32":
        with pytest.raises(ProcessLookupError):
            os.kill(server.pid, 0)
    assert list((cache / "run").glob("*.json")) == []


@posix_only
def test_a_server_that_was_killed_is_reaped_and_replaced(real_model, cache, wait_until):
    with EmbeddedServer.acquire(real_model) as first:
        os.kill(first.pid, signal.SIGKILL)

        def reaped():
            try:
                os.kill(first.pid, 0)
            except ProcessLookupError:
                return True
            return False

        wait_until(reaped, "the killed server to be reaped")
        with EmbeddedServer.acquire(real_model) as second:
            assert second.pid != first.pid
            assert "Berlin" in ask(second, "Which city is the capital of Germany?")[0]


def test_processes_that_start_together_share_a_server_which_outlives_its_starter(real_model, hold, answers, wait_until):
    one, two = hold(real_model), hold(real_model)
    server = one.server()
    assert server == two.server()
    before = one.ask(QUESTIONS[1])
    starter, other = (one, two) if _is_child_of(server["pid"], one) else (two, one)
    starter.kill()
    assert other.ask(QUESTIONS[1]) == before
    other.kill()
    wait_until(lambda: not answers(server["base_url"]), "the server to end after its last holder")


def _is_child_of(pid, holder):
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or int(stat.read_text().rsplit(")", 1)[1].split()[1]) == holder._process.pid


@posix_only
def test_a_program_that_forgets_to_close_ends_and_reaps_its_server_on_the_way_out(real_model, cache, python):
    script = """
import atexit, os, sys
from pathlib import Path

def look():  # registered before lmroute's own, so called after it
    try:
        os.kill(server.pid, 0)
    except ProcessLookupError:
        print("no process, no zombie")

atexit.register(look)
from lmroute.providers.embedded import EmbeddedServer
server = EmbeddedServer.acquire(Path(sys.argv[1]))
"""
    said, problem = python(script, str(real_model)).communicate()
    assert said == "no process, no zombie\n", problem


def test_an_orderly_end_takes_the_server_along(real_model, hold, answers):
    holder = hold(real_model)
    server = holder.server()
    assert holder.close() == 0
    assert not answers(server["base_url"])


@posix_only
def test_ctrl_c_in_one_terminal_does_not_reach_the_server(real_model, hold):
    holder, other = hold(real_model), hold(real_model)
    server = holder.server()
    other.server()
    assert os.getsid(server["pid"]) == server["pid"]
    os.kill(holder._process.pid, signal.SIGINT)
    assert holder.close() != 0
    assert other.ask(QUESTIONS[1])


def test_a_stale_lease_is_replaced(real_model, cache, hold, wait_until, answers):
    holder = hold(real_model)
    server = holder.server()
    (lease,) = (cache / "run").glob("*.json")
    stale = lease.read_text()
    holder.kill()
    wait_until(lambda: not answers(server["base_url"]), "the server to end")
    lease.write_text(stale)  # as if it had been killed, too
    with EmbeddedServer.acquire(real_model) as again:
        assert again.pid != server["pid"]
        assert get(again, "/health").status_code == 200


def test_a_model_that_is_cut_off_behind_its_header_comes_with_llama_cpps_own_words(real_model, cache, tmp_path):
    path = tmp_path / "half.gguf"
    with real_model.open("rb") as whole:
        path.write_bytes(whole.read(5_000_000))
    with pytest.raises(EmbeddedUnavailable) as failure:
        EmbeddedServer.acquire(path)
    message = str(failure.value)
    assert "llama.cpp could not load" in message
    assert "half.gguf: " in message
    assert "not within the file bounds" in message or "failed to" in message


def test_a_local_file_goes_by_its_own_name(real_model, server):
    assert server.model_id == real_model.stem
