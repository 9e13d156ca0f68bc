"""LM Studio's contract against the emulator, and against servers that only look like it."""

import itertools
import string
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.emulator.catalog import Kind
from lmroute.emulator.catalog import Model as Disk
from lmroute.emulator.running import running
from lmroute.emulator.settings import Loaded, Settings, Token
from lmroute.emulator.versions import PROFILES
from lmroute.errors import ProviderUnavailable, ServerUnreachable, TokenRefused
from lmroute.model import Failure, Locality, Secret
from lmroute.providers.lmstudio import Model, choose, is_same_model, list_models, meaning_of

NATIVE = ["0.3.31", "0.4.25"]
DISK = (
    Disk("test/small", context_length=4096, max_context_length=32768),
    Disk("test/large", context_length=16384, max_context_length=131072),
    Disk("text-embedding-test", Kind.EMBEDDING, context_length=2048),
)
TOKEN = Secret("sk-lm-a1B2c3D4:abcdefghij0123456789")


def listed(url, **options):
    return list_models(url, **{"locality": Locality.LOOPBACK, "token": None} | options)


@pytest.fixture(scope="module")
def emulators():
    """One emulator a release, with the second of two chat models loaded: ``emulators[release] -> url``."""
    with ExitStack() as stack:
        loaded = {"models": DISK, "loaded": (Loaded("test/large"),)}
        yield {
            name: stack.enter_context(running(Settings(version=version, **loaded))).url
            for name, version in PROFILES.items()
        }


@pytest.mark.parametrize("release", NATIVE)
def test_native_lists_tell_what_is_loaded_and_its_window(emulators, release):
    assert listed(emulators[release]) == [
        Model("test/large", loaded=True, context_window=16384),
        Model("test/small", loaded=False),
    ]


def test_before_native_lists_there_are_only_names(emulators):
    assert listed(emulators["0.3.5"]) == [Model("test/small", loaded=False), Model("test/large", loaded=False)]


@pytest.mark.parametrize("pasted", ["", "/", "/v1", "/v1/", "/api/v1", "/api/v0/models", "/v1/chat/completions"])
def test_any_pasted_address_will_do(emulators, pasted):
    assert listed(emulators["0.4.25"] + pasted)[0].key == "test/large"


@pytest.mark.parametrize("release", PROFILES)
def test_auto_means_a_model_that_answers(emulators, release):
    url = emulators[release]
    expected = "test/small" if release == "0.3.5" else "test/large"
    assert choose(listed(url), url).key == expected


def test_a_loaded_model_goes_by_the_name_of_its_instance():
    settings = Settings(models=DISK, loaded=(Loaded("test/large", "mine"), Loaded("test/large", "mine:2")))
    with running(settings) as emulator:
        assert [model.key for model in listed(emulator.url)] == ["mine", "mine:2", "test/small"]


def test_nothing_loaded_means_the_first_on_disk():
    with running(Settings(models=DISK, loaded=())) as emulator:
        models = listed(emulator.url)
        assert [model.loaded for model in models] == [False, False]
        assert choose(models, emulator.url).key == "test/small"


def test_no_chat_model_says_what_to_do():
    with running(Settings(models=DISK[2:], loaded=())) as emulator:
        models = listed(emulator.url)
        assert models == []
        with pytest.raises(ProviderUnavailable, match=f"^{emulator.url} has no chat model; load one in LM Studio"):
            choose(models, f"{emulator.url}/v1")


@pytest.fixture(scope="module")
def guarded():
    """The address of an emulator that wants ``TOKEN``."""
    with running(Settings(models=DISK, require_auth=True, tokens=(Token(TOKEN),))) as emulator:
        yield emulator.url


def test_the_right_token_opens(guarded):
    assert listed(guarded, token=TOKEN)[0].key == "test/small"


@pytest.mark.parametrize(
    "token", [None, Secret("lm-studio"), Secret("sk-lm-zzzzzzzz:zzzzzzzzzzzzzzzzzzzz")], ids=["none", "dummy", "wrong"]
)
def test_another_token_is_refused(guarded, token):
    with pytest.raises(TokenRefused, match=f"^{guarded} wants an API token") as raised:
        listed(guarded, token=token)
    assert "zzzz" not in str(raised.value)


@pytest.mark.parametrize("body", [{"error": {"code": "invalid_api_key"}}, b"<h1>401</h1>", b""], ids=str)
def test_after_a_401_no_other_list_is_asked_for(serve, body):
    server = serve(serve.reply(body, "401 Unauthorized"))
    with pytest.raises(TokenRefused):
        listed(server.url)
    assert len(server.heads) == 1


def test_nobody_there():
    with pytest.raises(ServerUnreachable, match="connection refused"):
        listed("http://127.0.0.1:1")


def by_path(serve, answers, otherwise):
    """A server that answers by path: ``{path: bytes}``."""

    def answer(_connection):
        path = server.heads[-1].split()[1].decode()
        return [answers.get(path, otherwise)]

    server = serve(answer)
    return server


def paths(server):
    return [head.split()[1].decode() for head in server.heads]


OPENAI_LIST = {"object": "list", "data": [{"id": "test/small"}, {"id": "nomic-Embed-text"}]}


@pytest.mark.parametrize(
    "missing",
    [
        ({"error": "Unexpected endpoint or method. (GET /api/v1/models)"}, "200 OK"),
        ({"detail": "Not Found"}, "404 Not Found"),
        (b"<html>nginx</html>", "404 Not Found"),
        ({"status": "ok"}, "200 OK"),
        (["a list"], "200 OK"),
        (b"", "301 Moved Permanently"),
    ],
    ids=["lm studio", "json 404", "html 404", "any json", "a list", "redirect"],
)
def test_a_server_without_native_lists_is_asked_for_openais(serve, missing):
    server = by_path(serve, {"/v1/models": serve.reply(OPENAI_LIST)}, serve.reply(*missing))
    assert listed(server.url) == [Model("test/small", loaded=False)]
    assert paths(server) == ["/api/v1/models", "/api/v0/models", "/v1/models"]


def test_a_server_without_any_list_is_quoted(serve):
    body = {"error": {"message": "no such path, and your key is sk-abcdefgh12345678"}}
    with pytest.raises(ProviderUnavailable, match=r"it lists no models: no such path, and your key is \*\*\*$"):
        listed(serve(serve.reply(body)).url)
    with pytest.raises(ProviderUnavailable, match="it lists no models: HTTP 503"):
        listed(serve(serve.reply(b"busy", "503 Service Unavailable")).url)


@pytest.mark.parametrize(
    "entry",
    ["text", None, {"type": "llm"}, {"type": "llm", "loaded_instances": [{}]}, {"type": "llm", "loaded_instances": 3}],
)
def test_a_list_of_another_shape_is_named(serve, entry):
    server = serve(serve.reply({"models": [entry]}))
    with pytest.raises(ProviderUnavailable, match=r"/api/v1/models has another shape than LM Studio's model list$"):
        listed(server.url)


@pytest.mark.parametrize("told", ["4096", None, 0, -1, 3.5, [], {}])
def test_a_window_that_is_no_number_of_tokens_is_unknown(serve, told):
    instance = {"id": "a", "config": {"context_length": told}}
    server = serve(serve.reply({"models": [{"type": "llm", "key": "a", "loaded_instances": [instance]}]}))
    assert listed(server.url) == [Model("a", loaded=True)]


@pytest.mark.parametrize("instance", [{"id": "a"}, {"id": "a", "config": None}, {"id": "a", "config": {}}])
def test_an_instance_need_not_tell_its_configuration(serve, instance):
    server = serve(serve.reply({"models": [{"type": "llm", "key": "a", "loaded_instances": [instance]}]}))
    assert listed(server.url) == [Model("a", loaded=True)]


def test_a_model_that_sees_is_a_chat_model_too(serve):
    entries = [
        {"id": "e", "type": "embeddings", "state": "loaded"},
        {"id": "v", "type": "vlm", "state": "not-loaded", "max_context_length": 9},
        {"id": "l", "type": "llm", "state": "loaded", "loaded_context_length": 8192},
    ]
    server = by_path(serve, {"/api/v0/models": serve.reply({"data": entries})}, serve.reply({"error": "no"}))
    assert listed(server.url) == [Model("l", loaded=True, context_window=8192), Model("v", loaded=False)]


KEYS = st.text(string.ascii_letters + string.digits + "-._/", min_size=1).filter(lambda key: key.strip("/"))
SUFFIXES = st.sampled_from(["", "@q4_k_m", "@MXFP4", ":2", ":17", "@4bit:3"])


@given(KEYS, SUFFIXES, SUFFIXES, st.booleans())
def test_a_model_is_itself_in_any_case_copy_and_quantization(key, one, other, shouted):
    assert is_same_model(key + one, (key.upper() if shouted else key) + other)


@given(KEYS, KEYS, SUFFIXES, SUFFIXES)
def test_another_key_is_another_model(key, other, one, two):
    assert is_same_model(key + one, other + two) is (key.lower() == other.lower())


def test_models_that_are_not_the_same():
    for one, other in itertools.permutations(
        ["qwen/qwen3-8b", "qwen/qwen3-4b", "qwen3-8b", "llama:8b", "llama:70b"], 2
    ):
        assert not is_same_model(one, other)


OVERFLOW, GONE, UNKNOWN = Failure.CONTEXT_LENGTH, Failure.SERVER, Failure.UNSUPPORTED_MODEL
WORDINGS = {
    "E1": ("Unexpected endpoint or method. (POST /chat/completions)", Failure.BAD_REPLY),
    "E2": ("No models loaded. Please load a model in the developer page or use the 'lms load' command.", UNKNOWN),
    "E4": ('Invalid model identifier "tern-9b". Please specify a valid downloaded model (e.g., a, b).', UNKNOWN),
    "E4b": ('Model "tern 9b" not found. Please specify a valid model.\n\nYour models:\n\ntern-3b', UNKNOWN),
    "E5": ("Multiple models are loaded. Please specify a model by providing a 'model' field in the body", UNKNOWN),
    "E6": ('Invalid model identifier "".', UNKNOWN),
    "E7": ('Failed to load model "tern-9b". Error: Failed to load model.', Failure.UNAVAILABLE),
    "E7 cancelled": ('Failed to load model "tern-9b". Error: Operation canceled.', Failure.UNAVAILABLE),
    "E7 native": ("Failed to load LLM 'tern-9b': Error: insufficient system resources.", Failure.UNAVAILABLE),
    "E7 type": ("model_load_failed", Failure.UNAVAILABLE),
    "E8": ("Model unloaded.", GONE),
    "E8 is": ("Model is unloaded.", GONE),
    "E8 has": ("Model has unloaded or crashed.", GONE),
    "E9": ("The model has crashed without additional information. (Exit code: 134)", GONE),
    "E9 null": ("The model has crashed without additional information. (Exit code: null)", GONE),
    "E10": (
        "Trying to keep the first 7001 tokens when context the overflows. However, the model is loaded with...",
        OVERFLOW,
    ),
    "E11": ("The number of tokens to keep from the initial prompt is greater than the context length.", OVERFLOW),
    "E11 n_keep": (
        "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 9>= n_ctx: 2",
        OVERFLOW,
    ),
    "E12": (
        "Input does not fit in context length. The input has 12345 tokens, but the context length only supports 8000.",
        OVERFLOW,
    ),
    "E13": ("Context size has been exceeded.", OVERFLOW),
    "E14": ("request (9001 tokens) exceeds the available context size (2048 tokens), try increasing it", OVERFLOW),
    "E14 type": ("exceed_context_size_error", OVERFLOW),
    "rule 5": ("Reached context length of 2048 tokens", OVERFLOW),
    "E19": ("Compute error.", GONE),
}


@pytest.mark.parametrize(("message", "failure"), WORDINGS.values(), ids=WORDINGS)
def test_what_a_refusal_means(message, failure):
    assert meaning_of(message) is failure
    assert meaning_of(f"HTTP 400: {message.upper()}") is failure


@pytest.mark.parametrize(
    "message",
    [
        "",
        "'response_format.type' must be 'json_schema' or 'text'",
        "Invalid tool_choice type: 'object'. Supported string values: none, auto, required",
        "'messages' field is required",
        "An LM Studio API token is required to make requests to this server",
        "<pre>Internal Server Error</pre>",
        "_0x48eeaf is not iterable",
        "Unrecognized key(s) in object: 'ttl'",
        "rate limit exceeded",
        "the context of this conversation was loaded",
    ],
)
def test_other_refusals_mean_what_their_status_says(message):
    assert meaning_of(message) is None
