"""What is locked of real servers: the emulator in three releases and several settings."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lmroute.emulator.catalog import Kind
from lmroute.emulator.catalog import Model as Disk
from lmroute.emulator.control.remote import Remote
from lmroute.emulator.running import running
from lmroute.emulator.settings import LoadConfig, Loaded, Settings, Token
from lmroute.emulator.versions import PROFILES
from lmroute.health.locking import PATHS, askable, names, take
from lmroute.lock import Instance, Lock, LockedModel, Weight, differences, dump
from lmroute.lock.document import Kind as LockedKind
from lmroute.model import AUTO, Locality, Named, Policy, Profile, Rule, Secret, SecretRef, SecretSource, Stack, TaskSpec
from lmroute.providers.probe import ErrorCode

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
DISK = (
    Disk("test/tern", trained_for_tool_use=True),
    Disk("test/heron", quantization="Q8_0", max_context_length=131072),
    Disk("text-embedding-wren", Kind.EMBEDDING, max_context_length=2048),
)
IN_MEMORY = (Loaded("test/tern", config=LoadConfig(context_length=8192)),)


def profile(url, **fields):
    return Profile(**{"id": "box", "type": "lmstudio", "endpoint": url, "locality": Locality.LOOPBACK} | fields)


@contextmanager
def serving(**settings):
    with running(Settings(**{"models": DISK, "loaded": IN_MEMORY} | settings)) as server:
        yield server.url


def taken(url, *asked, **fields):
    return take([profile(url, **fields)], {"box": asked or (AUTO,)}, AT)


def locked(url, *asked, **fields):
    return taken(url, *asked, **fields).found["box"]


def told(before, after):
    return [(str(one), one.weight) for one in differences("box", before, after)]


HAS = {
    "0.3.5": ("lmstudio", {"/v1/models"}),
    "0.3.31": ("lmstudio-v0", {"/v1/models", "/api/v0/models", "/v1/responses"}),
    "0.4.25": ("lmstudio-v1", {path for path, _ in PATHS}),
}


@pytest.mark.parametrize("release", PROFILES)
def test_the_api_and_the_paths_of_each_release(release):
    with serving(version=PROFILES[release]) as url:
        entry = locked(url)
    api, there = HAS[release]
    assert entry.api == api
    assert entry.paths == {path: path in there for path, _ in PATHS}
    assert entry.answers == {AUTO: "test/tern"}


def test_asking_loads_nothing_and_costs_nothing():
    with serving(loaded=()) as url:
        entry = locked(url)
        state = Remote(url).state()
    assert (entry.loaded, [model["loaded_instances"] for model in state["models"]]) == ((), [[], [], []])
    assert entry.loads_on_demand is True


def test_what_the_newest_release_tells():
    with serving(loaded=(*IN_MEMORY, Loaded("test/tern", "second"))) as url:
        entry = locked(url, AUTO, "second", "TEST/HERON", "nobody")
        endpoint = url
    assert (entry.type, entry.endpoint, entry.taken, entry.state) == (
        "lmstudio",
        endpoint,
        "2026-03-01T09:30:00Z",
        "healthy",
    )
    assert set(entry.models) == {
        LockedModel("test/tern", LockedKind.CHAT, None, 32768, True, False, None, "Q4_K_M", "gguf"),
        LockedModel("test/heron", LockedKind.CHAT, None, 131072, False, False, None, "Q8_0", "gguf"),
        LockedModel("text-embedding-wren", LockedKind.EMBEDDING, None, 2048, None, None, None, "Q4_K_M", "gguf"),
    }
    assert set(entry.loaded) == {Instance("test/tern", "test/tern", 8192, 4), Instance("second", "test/tern", 4096, 4)}
    assert entry.answers == {AUTO: "test/tern", "second": "second", "TEST/HERON": "test/heron", "nobody": None}


@pytest.mark.parametrize("release", PROFILES)
def test_two_locks_of_an_unchanged_server_are_equal_to_the_byte(release):
    with serving(version=PROFILES[release]) as url:
        assert dump(Lock(taken(url).found)) == dump(Lock(taken(url).found))


def test_an_instance_of_another_name_is_the_one_that_is_loaded():
    with serving(loaded=(Loaded("test/tern", "mine"),)) as url:
        entry = locked(url)
    assert [instance.id for instance in entry.loaded] == ["mine"]
    assert entry.answering(AUTO).id == "test/tern"


def test_just_in_time_loading_that_is_off():
    with serving(jit=False) as url:
        entry = locked(url, "test/heron")
    assert (entry.loads_on_demand, entry.answers) == (False, {"test/heron": None})


CHANGES = [
    ({"models": (DISK[0], DISK[2])}, ["box: 'test/heron' is gone"]),
    (
        {"models": (Disk("test/tern", trained_for_tool_use=True, quantization="Q8_0"), *DISK[1:])},
        ["box: 'test/tern' quantization Q4_K_M -> Q8_0"],
    ),
    ({"models": (Disk("test/tern"), *DISK[1:])}, ["box: 'test/tern' calls tools yes -> no"]),
    (
        {"loaded": (Loaded("test/tern", config=LoadConfig(context_length=2048)),)},
        ["box: 'test/tern' window 8192 -> 2048"],
    ),
    ({"loaded": ()}, []),
    ({"jit": False}, ["box: models no longer load when a request names them (just in time)"]),
]


@pytest.mark.parametrize(("change", "drift"), CHANGES, ids=str)
def test_a_changed_server_is_told_in_words(change, drift):
    with serving() as one, serving(**change) as two:
        before, after = locked(one), locked(two)
    found = [line for line, weight in told(before, after) if weight is Weight.DRIFT and "endpoint" not in line]
    assert found == drift


def test_an_older_release_is_another_level_and_has_lost_paths():
    with serving() as new, serving(version=PROFILES["0.3.31"]) as old:
        lines = [line for line, weight in told(locked(new), locked(old)) if weight is Weight.DRIFT]
    assert "box: API level lmstudio-v1 -> lmstudio-v0" in lines
    assert {line for line in lines if line.endswith("is gone")} == {
        f"box: {path} is gone" for path in ("/api/v1/models", "/api/v1/chat", "/v1/messages")
    }


def test_who_does_not_tell_is_silent():
    with serving(require_auth=True, tokens=(Token(Secret("sk-lm-aaaaaaaa:bbbbbbbbbbbbbbbbbbbb")),)) as url:
        found = taken(url)
    assert (found.found, found.silent["box"].error_code) == ({}, ErrorCode.TOKEN_REFUSED)


def test_a_token_is_sent_and_not_written(monkeypatch):
    secret = "sk-lm-aaaaaaaa:bbbbbbbbbbbbbbbbbbbb"
    monkeypatch.setenv("LOCKING_TOKEN", secret)
    reference = SecretRef(SecretSource.ENV, ("LOCKING_TOKEN",))
    with serving(require_auth=True, tokens=(Token(Secret(secret)),)) as url:
        address = url.replace("http://", "http://me:password@")
        found = taken(address, auth_token=reference)
    text = dump(Lock(found.found))
    assert all(found.found["box"].paths.values())
    assert (secret in text, "password" in text) == (False, False)


STATUSES = {"/v1/responses": 422, "/v1/messages": 404, "/api/v1/chat": 401, "/api/v0/models": 503}


class Careful(BaseHTTPRequestHandler):
    """A server that lists its models and says to everything else what ``STATUSES`` has."""

    def do_GET(self):
        lists = {"/v1/models": {"data": [{"id": "a"}]}, "/api/v1/models": {"models": []}}
        body = json.dumps(lists.get(self.path, {"error": "no"})).encode()
        self.send_response(STATUSES.get(self.path, 200))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  http.server's name for it

    def log_message(self, *_):
        pass


def test_a_path_is_there_gone_or_unknown_by_what_its_answer_proves():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Careful)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        entry = locked(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert entry.paths == {
        "/v1/models": True,
        "/api/v1/models": True,
        "/api/v0/models": None,
        "/v1/responses": True,
        "/v1/messages": False,
        "/api/v1/chat": None,
    }


def test_a_server_of_another_kind_is_asked_for_its_list_only():
    with serving() as url:
        entry = locked(url, "test/tern", type="openai_compatible")
        requests = Remote(url).state()["requests"]
    assert (entry.api, entry.paths, entry.loaded) == ("plain", {}, ())
    assert entry.answers == {"test/tern": "test/tern"}
    assert {request["path"] for request in requests} == {"/v1/models"}


def test_who_can_be_asked_and_for_what():
    profiles = {
        "box": profile("http://127.0.0.1:1", models=("a", "b")),
        "off": profile("http://127.0.0.1:1", id="off", enabled=False),
        "inside": Profile("inside", "embedded"),
        "any": Profile("any", "litellm"),
    }
    policy = Policy("p", (Rule("r", (Named("box", "c"), Named("inside"))),))
    assert [each.id for each in askable(profiles.values())] == ["box"]
    assert names(Stack(profiles, policy, TaskSpec("ask")))["box"] == ("a", "b", "c")
