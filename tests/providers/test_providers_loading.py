"""Loading and unloading models of LM Studio: one instance however many ask, and refusals that say what to do."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lmroute.emulator.catalog import Model
from lmroute.emulator.running import running
from lmroute.emulator.settings import Loaded, Settings, Token
from lmroute.emulator.versions import PROFILES
from lmroute.errors import ModelMissing, ProviderUnavailable, TokenRefused
from lmroute.model import Load, Locality, Profile, Secret, SecretRef, SecretSource
from lmroute.providers import dialing
from lmroute.providers.catalog import TYPES, base_url
from lmroute.providers.http import WIRE_ERRORS
from lmroute.providers.inventory import LISTINGS, opened, take
from lmroute.providers.lmstudio import control, unfinished

SMALL, LARGE = "test/small-3b", "test/large-70b"
DISK = (Model(SMALL, context_length=4096, max_context_length=32768), Model(LARGE), Model.named("text-embedding-test"))
TOKEN = "sk-lm-a1B2c3D4:abcdefghij0123456789"
LIMITED = "sk-lm-Read0nly:abcdefghij0123456789"


@pytest.fixture(autouse=True)
def _turns(tmp_path, monkeypatch):
    monkeypatch.setenv("LMROUTE_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def _emulator():
    with running(Settings(models=DISK, loaded=())) as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator):
    """An emulator with nothing loaded, whose loads take no time."""
    _emulator.reset()
    return _emulator


@pytest.fixture
def slow():
    """The same where a load takes five seconds of a clock that stands still."""
    with running(Settings(models=DISK, loaded=(), clock="manual", load_seconds=5)) as emulator:
        yield emulator


@contextmanager
def line_to(url, token=None, total_s=5.0, ref=None):
    profile = Profile("desk", "lmstudio", endpoint=url, locality=Locality.LOOPBACK, auth_token=ref)
    listing = LISTINGS[TYPES["lmstudio"].dialect]
    with opened(profile, base_url(profile), listing, token, total_s=total_s) as line:
        yield line


def load(url, key=SMALL, *, copy=False, total_s=5.0, **settings):
    with line_to(url, total_s=total_s) as line:
        return control.load(line, key, Load(**settings), copy=copy)


def instances(emulator):
    return [instance["id"] for instance in emulator.state()["instances"]]


def loads(emulator):
    return sum(request["path"].endswith("/load") for request in emulator.state()["requests"])


def until(emulator, holds):
    for _ in range(2000):
        if holds(state := emulator.state()):
            return
        time.sleep(0.002)
    raise AssertionError(f"never: {state}")


def test_a_model_is_loaded_once_and_its_settings_are_read_back(emulator):
    first, second = load(emulator.url, context_length=8192), load(emulator.url, context_length=16384)

    assert (first.is_new, first.model.context_window, first.model.id) == (True, 8192, SMALL)
    assert (second.is_new, second.model.context_window, second.load_s) == (False, 8192, None)
    assert instances(emulator) == [SMALL]


def test_the_window_is_what_it_got_and_not_what_was_asked_for(emulator):
    assert load(emulator.url, context_length=999_999).model.context_window == 32768


@pytest.mark.parametrize("asked", [SMALL, SMALL.upper(), f"{SMALL}@q4_k_m", "mine"])
def test_an_instance_of_another_name_is_found(asked):
    with running(Settings(models=DISK, loaded=(Loaded(SMALL, "mine"),))) as emulator:
        assert load(emulator.url, asked).model.id == "mine"
        assert loads(emulator) == 0


def test_a_copy_comes_only_when_it_is_asked_for(emulator):
    load(emulator.url)
    assert load(emulator.url, copy=True).model.id == f"{SMALL}:2"
    assert instances(emulator) == [SMALL, f"{SMALL}:2"]


def test_an_embedding_model_is_loaded_too(emulator):
    assert not load(emulator.url, "text-embedding-test").model.chats
    assert instances(emulator) == ["text-embedding-test"]


def test_two_that_load_at_once_end_up_with_one_instance(slow):
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(load, url) for url in (slow.url, slow.url.replace("127.0.0.1", "localhost"))]
        try:
            until(slow, lambda state: state["waiting"])
            # Long enough for the other one to send its own, were it not waiting for its turn.
            threading.Event().wait(0.3)
        finally:
            slow.advance(5)
        results = [one.result() for one in both]

    assert sorted(result.is_new for result in results) == [False, True]
    assert (instances(slow), loads(slow)) == ([SMALL], 1)


def test_a_copy_beside_what_another_program_loaded_meanwhile_is_unloaded_again(slow):
    with ThreadPoolExecutor(2) as threads:
        try:
            threads.submit(slow.load, SMALL)  # as the app does, which knows of no turns
            until(slow, lambda state: state["loading"] == [SMALL])
            ours = threads.submit(load, slow.url)
            until(slow, lambda state: len(state["loading"]) == 2)
        finally:
            slow.advance(5)
        result = ours.result()

    assert (result.model.id, result.is_new) == (SMALL, False)
    assert instances(slow) == [SMALL]


def test_what_was_there_first_stays_although_another_program_makes_a_copy(slow):
    with ThreadPoolExecutor(2) as threads:
        try:
            ours = threads.submit(load, slow.url)
            until(slow, lambda state: state["loading"] == [SMALL])
            threads.submit(slow.load, SMALL)
            until(slow, lambda state: len(state["loading"]) == 2)
        finally:
            slow.advance(5)
        result = ours.result()

    assert (result.model.id, result.is_new) == (SMALL, True)
    assert instances(slow) == [SMALL, f"{SMALL}:2"]


def test_the_callers_deadline_ends_the_wait_for_a_turn(slow):
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(load, slow.url)
        try:
            until(slow, lambda state: state["loading"] == [SMALL])
            with (
                dialing.until(time.monotonic() + 0.2),
                pytest.raises(ProviderUnavailable, match=r"another program has been loading .* for all of the 0\.\d s"),
            ):
                load(slow.url, total_s=5.0)
        finally:
            slow.advance(5)
        assert first.result().is_new


def test_the_callers_deadline_ends_the_wait_for_a_load(slow):
    with (
        dialing.until(time.monotonic() + 0.4),
        pytest.raises(ProviderUnavailable, match=r"not loaded within 0\.\d s.*\n.*deadline_s of the policy"),
    ):
        load(slow.url, total_s=5.0)


def test_a_load_that_takes_too_long_says_that_it_may_still_come(slow):
    with pytest.raises(ProviderUnavailable, match=r"not loaded within 0\.\d s, and may still be loading") as raised:
        load(slow.url, total_s=0.5)
    assert "providers.desk.timeouts.load_s" in str(raised.value)


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        ("test/smal-3b", f"did you mean '{SMALL}'?"),
        ("small", f"did you mean '{SMALL}'?"),
        ("elsewhere/large-70b", f"did you mean '{LARGE}'?"),
        ("zzz", f"there are '{SMALL}', '{LARGE}', 'text-embedding-test'. Or get it: "),
    ],
)
def test_an_unknown_model_is_told_with_those_that_are_called_alike(emulator, asked, advice):
    with pytest.raises(ModelMissing) as raised:
        load(emulator.url, asked)
    assert advice in str(raised.value)
    assert f"lmroute models download {asked}" in str(raised.value)


@pytest.mark.parametrize("asked", ["auto", ":7", "@q8_0", f"{SMALL}:7", "test/none@q8_0"])
def test_what_is_no_name_of_a_model_is_not_to_be_downloaded(emulator, asked):
    with pytest.raises(ModelMissing) as raised:
        load(emulator.url, asked)
    assert "download" not in str(raised.value)


def test_a_load_that_was_left_is_waited_for(slow):
    with pytest.raises(ProviderUnavailable, match="may still be loading"):
        load(slow.url, total_s=0.3)
    waits = []

    def wait(seconds):
        waits.append(seconds)
        slow.advance(2)

    with line_to(slow.url, total_s=60) as line:
        there = control.load(line, SMALL.upper(), Load(), wait=wait)

    assert (there.is_new, instances(slow), loads(slow), waits) == (False, [SMALL], 1, [1.0, 1.0, 1.0])
    with line_to(slow.url) as line:
        assert control.unfinished_s(line, SMALL) is None


def test_what_was_unloaded_since_is_not_waited_for(slow):
    with pytest.raises(ProviderUnavailable):
        load(slow.url, total_s=0.3)
    slow.advance(5)
    with line_to(slow.url) as line:
        control.unload(line, SMALL)
        assert control.unfinished_s(line, SMALL) is None


def test_a_load_that_was_left_long_ago_is_not_waited_for(emulator, tmp_path):
    load(emulator.url)
    note = tmp_path / "note"
    unfinished.begin(note)
    assert unfinished.age_s(note) < 60
    for age in (unfinished.LONGEST_S + 1, -3600):
        os.utime(note, (time.time() - age,) * 2)
        assert unfinished.age_s(note) is None
    unfinished.end(note)
    unfinished.end(note)
    assert unfinished.age_s(note) is None


@pytest.mark.parametrize("fault", [{"load_failure": True}, {"path": "/api/v1/models/load", "reset_after_bytes": 0}])
def test_a_load_that_failed_is_not_waited_for(emulator, fault):
    emulator.set_faults(**fault)
    with line_to(emulator.url) as line, pytest.raises((ProviderUnavailable, *WIRE_ERRORS)):
        control.load(line, SMALL, Load())
    with line_to(emulator.url) as line:
        assert control.unfinished_s(line, SMALL) is None


def test_a_load_that_the_guardrails_stop_says_how_to_make_room(emulator):
    emulator.set_faults(load_failure=True)
    with pytest.raises(ProviderUnavailable, match="insufficient system resources") as raised:
        load(emulator.url)
    assert "--context-length" in str(raised.value)
    assert "guardrails" in str(raised.value)


def test_a_load_that_fails_otherwise_points_to_the_log(serve):
    listed = {"models": [{"type": "llm", "key": SMALL, "loaded_instances": []}]}
    failed = {"error": {"type": "model_load_failed", "message": "Failed to load: Error: exitCode=null, signal=SIGABRT"}}

    def answer(_):
        head = server.heads[-1]
        if b"/load" in head:
            return [serve.reply(failed, "500 Internal Server Error")]
        return [serve.reply(listed if b"/api/v1" in head else {"data": [{"id": SMALL}]})]

    server = serve(answer)
    with pytest.raises(ProviderUnavailable, match="SIGABRT") as raised:
        load(server.url)
    assert "lms log stream" in str(raised.value)
    assert "guardrail" not in str(raised.value)


@pytest.mark.parametrize(
    ("native", "types"),
    [
        ("models", {"llm": (True, False), "embedding": (False, True), "reranker": (False, False)}),
        ("data", {"vlm": (True, False), "embeddings": (False, True), "tts": (False, False)}),
    ],
)
def test_a_type_that_nobody_knows_neither_chats_nor_embeds(serve, native, types):
    entries = {native: [{"type": kind, "key": kind, "id": kind, "loaded_instances": []} for kind in types]}
    path = b"/api/v1/" if native == "models" else b"/api/v0/"

    def answer(_):
        if path in server.heads[-1]:
            return [serve.reply(entries)]
        unknown = {"error": "Unexpected endpoint or method. (GET)"}
        return [serve.reply(unknown if b"/api/" in server.heads[-1] else {"data": [{"id": kind} for kind in types]})]

    server = serve(answer)
    with line_to(server.url) as line:
        inventory, _ = take(line)
    assert {m.id: (m.chats, m.embeds) for m in inventory.models} == types


@pytest.mark.parametrize("release", ["0.3.5", "0.3.31"])
def test_old_releases_cannot_be_told_to_load(release):
    with running(Settings(version=PROFILES[release], models=DISK)) as emulator:
        with pytest.raises(ProviderUnavailable, match=r"LM Studio 0\.4 or newer"):
            load(emulator.url)
        with line_to(emulator.url) as line, pytest.raises(ProviderUnavailable, match=r"LM Studio 0\.4 or newer"):
            control.unload(line, SMALL)


@pytest.mark.parametrize(("body", "status"), [(b"<h1>Directory</h1>", "404 Not Found"), ({"hello": 1}, "200 OK")])
def test_another_program_is_no_lm_studio(serve, body, status):
    server = serve(serve.reply(body, status))
    with pytest.raises(ProviderUnavailable, match="is LM Studio there") as raised:
        load(server.url)
    assert "providers.desk.endpoint" in str(raised.value)


@pytest.fixture(scope="module")
def guarded():
    tokens = (Token(Secret(TOKEN)), Token(Secret(LIMITED), read_only=True))
    with running(Settings(models=DISK, require_auth=True, tokens=tokens)) as emulator:
        yield emulator.url


BOTH = SecretRef(SecretSource.ENV, ("LM_API_TOKEN", "LMSTUDIO_API_TOKEN"), optional=True)


@pytest.mark.parametrize(
    ("token", "advice"),
    [
        (None, "no token was sent"),
        ("lm-studio", "a token begins with sk-lm-"),
        (f"Bearer {TOKEN}", "leave out 'Bearer '"),
        ("my-very-own-secret-42", "a token begins with sk-lm-"),
        ("sk-lm-zzzzzzzz:zzzzzzzzzzzzzzzzzzzz", "does not know this token"),
        (LIMITED, "allow it for the token"),
    ],
)
@pytest.mark.parametrize("ref", [BOTH, None])
def test_a_refused_token_is_told_with_what_is_wrong_about_it(guarded, token, advice, ref):
    secret = Secret(token) if token else None
    with line_to(guarded, secret, ref=ref) as line, pytest.raises(TokenRefused) as raised:
        control.load(line, LARGE, Load())
    told = str(raised.value)
    assert advice in told
    assert token == LIMITED or ("LM_API_TOKEN" in told and "LMSTUDIO_API_TOKEN" in told)
    assert token in {None, "lm-studio"} or token[:10] not in told


def test_the_right_token_loads(guarded):
    with line_to(guarded, Secret(TOKEN)) as line:
        assert control.load(line, LARGE, Load()).is_new


def test_unloading_takes_exactly_that_instance(emulator):
    load(emulator.url)
    load(emulator.url, copy=True)
    with line_to(emulator.url) as line:
        control.unload(line, SMALL)
        assert instances(emulator) == [f"{SMALL}:2"]
        with pytest.raises(ModelMissing, match="lmroute models shows what is loaded"):
            control.unload(line, SMALL)


def test_a_state_folder_that_cannot_be_written_is_told_with_a_way_out(emulator, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("LMROUTE_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(ProviderUnavailable, match="LMROUTE_STATE_HOME"):
        load(emulator.url)
