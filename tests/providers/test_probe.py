"""What a probe tells of servers that work: models, windows, capabilities, phases; and of those without a server."""

import struct
import threading
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.emulator.catalog import Kind
from lmroute.emulator.catalog import Model as Disk
from lmroute.emulator.running import running
from lmroute.emulator.settings import Loaded, Settings, Token
from lmroute.emulator.versions import PROFILES
from lmroute.model import AUTO, Locality, Profile, Secret, SecretRef, SecretSource
from lmroute.providers.catalog import TYPES
from lmroute.providers.inventory import LISTINGS
from lmroute.providers.probe import (
    ErrorCode,
    ListedModel,
    Outcome,
    Patience,
    State,
    find,
    instead_of,
    probe,
    probe_all,
)
from lmroute.providers.probe.stopwatch import Stopwatch

AMPLE = Patience(total_s=30.0, pause_s=0.001)
DISK = (
    Disk("test/small", context_length=4096, max_context_length=32768),
    Disk("test/large", context_length=16384, max_context_length=131072),
    Disk("text-embedding-test", Kind.EMBEDDING, context_length=2048),
)
TOKEN = Secret("sk-lm-a1B2c3D4:abcdefghij0123456789")
REF = SecretRef(SecretSource.ENV, ("LMROUTE_TEST_TOKEN",))


def profile(url, kind="lmstudio", **fields):
    return Profile(**{"id": "box", "type": kind, "endpoint": url, "locality": Locality.LOOPBACK} | fields)


def look(url, kind="lmstudio", **fields):
    return probe(profile(url, kind, **fields), patience=AMPLE)


def outcomes(result):
    return {phase.name: phase.outcome.value for phase in result.phases}


# LM Studio, as the emulator speaks it


@pytest.fixture(scope="module")
def emulators():
    """One emulator a release, with the second of two chat models loaded: ``emulators[release] -> url``."""
    with ExitStack() as stack:
        settings = {"models": DISK, "loaded": (Loaded("test/large"),)}
        yield {
            name: stack.enter_context(running(Settings(version=version, **settings))).url
            for name, version in PROFILES.items()
        }


@pytest.mark.parametrize("release", PROFILES)
def test_every_release_is_healthy_in_one_try(emulators, release):
    result = look(emulators[release])
    assert (result.state, result.error_code, result.tries, result.message, result.fix) == ("healthy", None, 1, "", "")
    expected = {"dns": "ok", "connect": "ok", "tls": "skipped", "auth": "ok", "list": "ok", "model": "ok"}
    assert outcomes(result) == expected
    assert result.latency_ms >= sum(phase.ms for phase in result.phases) * 0.99
    assert [model.id for model in result.models] == ["test/small", "test/large", "text-embedding-test"]
    assert [model.chats for model in result.models] == [True, True, False]


@pytest.mark.parametrize("release", ["0.3.31", "0.4.25"])
def test_native_lists_tell_state_window_and_capabilities(emulators, release):
    small, large, _ = look(emulators[release]).models
    told = {"tools": False, "vision": False}
    unlooked = {"of": "", "parallel": None, "quantization": None, "variants": (), "format": None, "size_bytes": None}
    assert [large.embeds, small.embeds] == [False, False]
    unlooked["embeds"] = None
    large, small = (replace(model, **unlooked) for model in (large, small))
    assert large == ListedModel("test/large", loaded=True, context_window=16384, max_context_window=131072, **told)
    assert small == ListedModel("test/small", loaded=False, max_context_window=32768, **told)
    assert (large.window, small.window) == (16384, 32768)


def test_before_native_lists_nothing_is_known_and_nothing_is_wrong(emulators):
    assert look(emulators["0.3.5"]).models[0] == ListedModel("test/small")


@pytest.mark.parametrize("pasted", ["/v1", "/api/v1/models", "/v1/chat/completions/"])
def test_any_pasted_address_will_do(emulators, pasted):
    assert look(emulators["0.4.25"] + pasted).state is State.HEALTHY


@pytest.mark.parametrize("release", ["0.3.31", "0.4.25"])
def test_auto_is_the_loaded_model(emulators, release):
    result = look(emulators[release])
    assert find(result.models, AUTO, profile("")).id == "test/large"


@pytest.mark.parametrize("name", ["TEST/small", "test/large@q4_k_m", "test/large:2"])
def test_a_model_goes_by_its_other_names(emulators, name):
    assert look(emulators["0.4.25"], models=(name,)).state is State.HEALTHY


def test_a_model_that_is_not_there(emulators):
    result = look(emulators["0.4.25"], models=("test/smal", "nothing-like-it"))
    assert (result.state, result.error_code) == (State.MISCONFIGURED, "model_not_found")
    assert result.missing == ("test/smal", "nothing-like-it")
    assert "does not offer 'test/smal', 'nothing-like-it'" in result.message
    assert result.fix.startswith("did you mean 'test/small'?")
    assert outcomes(result)["model"] == "failed"
    assert result.listed


def test_some_models_that_are_not_there(emulators):
    result = look(emulators["0.4.25"], models=("nothing-like-it", AUTO))
    assert (result.state, result.missing) == (State.DEGRADED, ("nothing-like-it",))
    assert "it offers 'test/small', 'test/large'" in result.fix


def test_instances_under_names_of_their_own():
    settings = Settings(models=DISK, loaded=(Loaded("test/large", "mine"), Loaded("test/large", "mine:2")))
    with running(settings) as emulator:
        result = look(emulator.url, models=("mine",))
    assert result.state is State.HEALTHY
    assert [model.id for model in result.models if model.loaded] == ["test/large", "mine", "mine:2"]
    assert find(result.models, AUTO, profile("")).context_window == 16384


def test_without_jit_only_what_is_loaded_is_offered():
    with running(Settings(models=DISK, loaded=(Loaded("test/large"),), jit=False)) as emulator:
        result = look(emulator.url, models=("test/small",))
    assert [model.id for model in result.models if model.offered] == ["test/large"]
    assert result.error_code == "model_not_found"


def test_a_model_that_is_not_loaded_is_no_fault():
    with running(Settings(models=DISK, loaded=())) as emulator:
        assert look(emulator.url).state is State.HEALTHY


@pytest.mark.parametrize("models", [(), DISK[2:]], ids=["nothing", "embeddings"])
def test_no_chat_model(models):
    with running(Settings(models=models, loaded=())) as emulator:
        result = look(emulator.url)
    assert (result.state, result.error_code, result.missing) == (State.MISCONFIGURED, "no_models", (AUTO,))
    assert "lmroute models download" in result.fix


def test_models_on_disk_only():
    with running(Settings(models=DISK, loaded=(), jit=False)) as emulator:
        result = look(emulator.url)
    assert (result.error_code, result.missing) == ("no_models", (AUTO,))
    assert "just-in-time loading is off" in result.message
    assert result.fix.startswith("load one: lmroute models load ")


def test_tokens(monkeypatch):
    with running(Settings(models=DISK, require_auth=True, tokens=(Token(TOKEN),))) as emulator:
        monkeypatch.setenv("LMROUTE_TEST_TOKEN", TOKEN.reveal())
        assert look(emulator.url, auth_token=REF).state is State.HEALTHY
        monkeypatch.setenv("LMROUTE_TEST_TOKEN", "sk-lm-zzzzzzzz:zzzzzzzzzzzzzzzzzzzz")
        wrong = look(emulator.url, auth_token=REF)
        none = look(emulator.url)
    for result in (wrong, none):
        assert (result.state, result.error_code, result.tries) == (State.AUTH, "token_refused", 1)
        assert outcomes(result) == {"dns": "ok", "connect": "ok", "auth": "failed"} | dict.fromkeys(
            ("tls", "list", "model"), "skipped"
        )
        assert "zzzz" not in repr(result)


def test_another_server_under_lm_studios_name(serve):
    def only_openai(_connection):
        ours = b"GET /v1/models " in server.heads[-1]
        return [serve.reply({"data": [{"id": "m"}]}) if ours else serve.reply({"detail": "no"}, "404 Not Found")]

    server = serve(only_openai)
    result = look(server.url)
    assert (result.state, result.error_code) == (State.DEGRADED, "wrong_type")
    assert "providers.box.type" in result.fix
    assert outcomes(result)["list"] == "ok"


# Other servers


def test_what_is_sent(serve):
    """The dialect's own header carries the token, in a request that costs nothing."""
    expected = {
        "openai": (b"GET /v1/models HTTP", b"authorization: bearer secret-of-a-test"),
        "anthropic": (b"GET /v1/models?limit=1000 HTTP", b"x-api-key: secret-of-a-test"),
        "gemini": (b"GET /v1beta/models?pageSize=1000 HTTP", b"x-goog-api-key: secret-of-a-test"),
        "openrouter": (b"GET /api/v1/models HTTP", b"authorization: bearer secret-of-a-test"),
    }
    for kind, (line, header) in expected.items():
        server = serve(serve.reply({"data": [{"id": "m"}], "models": [{"name": "models/m"}]}))
        ours = profile(server.url, kind, auth_token=REF)
        result = probe(ours, secret=lambda _ref: Secret("secret-of-a-test"), patience=AMPLE)
        assert result.state is State.HEALTHY
        assert [model.id for model in result.models] == ["m"]
        assert len(server.heads) == 1
        assert server.heads[0].startswith(line)
        assert header in server.heads[0].lower()
        assert server.heads[0].lower().count(b"secret-of-a-test") == 1
        assert (b"anthropic-version" in server.heads[0].lower()) == (kind == "anthropic")


def test_every_type_of_server_can_be_listed_or_says_why_not():
    silent = {kind for kind, row in TYPES.items() if row.dialect not in LISTINGS}
    assert silent == {"litellm"}
    result = probe(Profile("x", "litellm"))
    assert (result.state, result.error_code, result.tries) == (State.UNKNOWN, "no_list", 0)
    assert "LiteLLM" in result.message
    assert set(outcomes(result).values()) == {"skipped"}


def test_a_list_that_is_open_to_everybody_proves_no_token(serve):
    server = serve(serve.reply({"data": [{"id": "m"}]}))
    assert outcomes(look(server.url, "openrouter"))["auth"] == "skipped"


@pytest.mark.parametrize(
    ("kind", "entry", "expected"),
    [
        ("vllm", {"id": "m", "max_model_len": 8192}, ListedModel("m", context_window=8192)),
        ("anthropic", {"id": "m", "max_input_tokens": 200000}, ListedModel("m", context_window=200000)),
        ("gemini", {"name": "models/m", "inputTokenLimit": 9}, ListedModel("m", context_window=9)),
        ("vllm", {"id": "m", "max_model_len": True}, ListedModel("m")),
        ("vllm", {"id": "m", "max_model_len": "8192"}, ListedModel("m")),
        (
            "openrouter",
            {
                "id": "m",
                "context_length": 9,
                "supported_parameters": ["tools"],
                "architecture": {"input_modalities": ["text", "image"]},
            },
            ListedModel("m", context_window=9, tools=True, vision=True),
        ),
        (
            "openrouter",
            {"id": "m", "supported_parameters": [], "architecture": {"input_modalities": ["text"]}},
            ListedModel("m", tools=False, vision=False),
        ),
        ("openai", {"id": "text-embedding-3-small"}, ListedModel("text-embedding-3-small", chats=False)),
    ],
)
def test_what_an_entry_tells(serve, kind, entry, expected):
    server = serve(serve.reply({"data": [entry], "models": [entry]}))
    assert look(server.url, kind).models == (expected,)


def test_an_error_that_is_none_beside_a_list(serve):
    assert look(serve(serve.reply({"data": [{"id": "m"}], "error": None})).url, "openai").state is State.HEALTHY


LISTED = [ListedModel("llama3:latest"), ListedModel("claude-haiku-4-5-20251001"), ListedModel("a/b")]


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        ("ollama", "llama3", "llama3:latest"),
        ("ollama", "llama3:8b", None),
        ("anthropic", "claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("anthropic", "claude-haiku-4-5-latest", "claude-haiku-4-5-20251001"),
        ("anthropic", "claude-haiku-4", None),
        ("openrouter", "a/b:free", "a/b"),
        ("openai", "a/b:free", None),
        ("openai", "A/B", None),
        ("lmstudio", "A/B", "a/b"),
        ("llamacpp", "whatever", None),
    ],
)
def test_names_that_mean_the_same_model(kind, name, found):
    model = find(LISTED, name, profile("", kind))
    assert (model.id if model else None) == found


def test_a_server_with_one_model_may_answer_to_any_name():
    only = LISTED[2:]
    assert find(only, "whatever", profile("", "llamacpp")) == only[0]
    assert find(only, "whatever", profile("", "vllm")) is None


def test_what_to_write_instead():
    ours = profile("", "openai")
    assert "did you mean 'gpt-5-mini'?" in instead_of(ours, "gpt5-mini", ["gpt-5-mini", "o9"])
    assert "did you mean 'rookery/tern-3b-instruct'?" in instead_of(ours, "tern-3b", ["x", "rookery/tern-3b-instruct"])
    assert "it offers '0', '1', '2', '3', '4' and 5 more;" in instead_of(ours, "zzz", [str(n) for n in range(10)])


# Whatever lists hold

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "data",
                    "models",
                    "id",
                    "key",
                    "name",
                    "type",
                    "capabilities",
                    "loaded_instances",
                    "config",
                    "state",
                    "context_length",
                    "supported_parameters",
                    "architecture",
                    "input_modalities",
                    "max_model_len",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from(list(LISTINGS.values())))
def test_any_json_is_a_list_or_none(body, listing):
    offered = listing.read(body)
    assert offered is None or all(model.id.isprintable() for model in offered)


# The stopwatch


def test_a_tunnel_through_a_proxy_is_not_taken_for_the_server():
    watch = Stopwatch()
    watch.begin("connect")
    for event in (
        "connection.connect_tcp.started",
        "http11.send_request_headers.started",
        "http11.receive_response_headers.complete",
        "proxy.start_tls.started",
        "proxy.start_tls.complete",
        "http11.send_request_headers.started",
        "http11.receive_response_headers.complete",
    ):
        watch.trace(event, {})
    assert watch.fail() == "list"
    ran = {phase.name for phase in watch.phases() if phase.outcome is Outcome.OK}
    assert ran == {"connect", "tls", "auth"}


# Many at once


def test_all_are_asked_at_the_same_time(serve):
    """Each answers only when all have been asked, so one after the other would never end well."""
    count = 6
    together = threading.Barrier(count)

    def wait(_connection):
        together.wait(timeout=30)
        return [serve.reply({"data": [{"id": "m"}]})]

    profiles = [profile(serve(wait).url, "openai", id=f"p{n}") for n in range(count)]
    results = probe_all(profiles, patience=Patience(total_s=30.0, retries=0))
    assert list(results) == [f"p{n}" for n in range(count)]
    assert {result.state for result in results.values()} == {State.HEALTHY}


def test_those_that_hang_leave_the_others_alone(serve):
    """They let go when the last one has been asked, so whoever waits for them never gets there."""
    asked = threading.Event()

    def hang(_connection):
        asked.wait(timeout=30)
        return []

    def good(_connection):
        asked.set()
        return [serve.reply({"data": [{"id": "m"}]})]

    profiles = [profile(serve(hang).url, "openai", id=f"p{n}") for n in range(5)] + [profile(serve(good).url, "openai")]
    results = probe_all(profiles, patience=Patience(total_s=25.0, retries=0))
    assert [result.error_code for result in results.values()] == ["connection_reset"] * 5 + [None]


def test_nobody_to_ask():
    assert probe_all([]) == {}


def test_no_thread_or_socket_is_left_behind(serve):
    server = serve(serve.reply(b"", "500 Oops"))
    before = {thread for thread in threading.enumerate() if thread.name.startswith("lmroute probe")}
    probe_all([profile(server.url, "openai", id=f"p{n}") for n in range(20)], patience=AMPLE)
    assert {thread for thread in threading.enumerate() if thread.name.startswith("lmroute probe")} == before


# The embedded model


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LMROUTE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("LMROUTE_OFFLINE", raising=False)
    monkeypatch.setattr("lmroute.providers.probe.weights.find_spec", lambda name: name == "xllamacpp")
    return tmp_path / "cache"


def embedded(**fields):
    return probe(Profile("embedded", "embedded", locality=Locality.EMBEDDED, **fields))


def gguf(path, window=2048):
    """The smallest GGUF header that says how long a context its model was trained for."""

    def text(value):
        return struct.pack("<Q", len(value)) + value

    pairs = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
    pairs += text(b"llama.context_length") + struct.pack("<II", 4, window)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + pairs)
    return path


def test_weights_that_would_be_fetched(cache):
    result = embedded()
    assert (result.state, result.error_code) == (State.DEGRADED, "weights_missing")
    assert "93 MB" in result.message
    assert result.fix
    assert not cache.exists(), "a probe leaves no trace"


def test_weights_that_may_not_be_fetched(cache, monkeypatch):
    monkeypatch.setenv("LMROUTE_OFFLINE", "1")
    result = embedded()
    assert (result.state, result.error_code) == (State.DOWN, "weights_missing")
    assert "LMROUTE_OFFLINE" in result.message


def test_weights_of_ones_own(cache, tmp_path):
    result = embedded(model_path=str(gguf(tmp_path / "mine.gguf")))
    assert result.state is State.HEALTHY
    assert result.models == (ListedModel("mine", max_context_window=2048),)


@pytest.mark.parametrize("content", [None, b"", b"GGUF", b"<html>"])
def test_weights_that_are_none(cache, tmp_path, content):
    path = tmp_path / "mine.gguf"
    if content is not None:
        path.write_bytes(content)
    result = embedded(model_path=str(path))
    assert (result.state, result.error_code) == (State.MISCONFIGURED, "weights_unusable")
    assert "mine.gguf" in result.message
    assert "model_path" in result.fix


def test_damaged_weights_are_as_good_as_none(cache):
    from lmroute.providers.embedded.weights import SMOLLM2

    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / SMOLLM2.filename).write_bytes(b"GGUF")
    assert embedded().error_code == "weights_missing"


def test_no_llama_cpp(cache, monkeypatch):
    monkeypatch.setattr("lmroute.providers.probe.weights.find_spec", lambda _name: None)
    result = embedded()
    assert (result.state, result.error_code) == (State.DOWN, ErrorCode.NOT_INSTALLED)
    assert "lmroute[embedded]" in result.fix
