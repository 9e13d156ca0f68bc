"""A server's inventory, against the emulator and against servers that only look like LM Studio."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.emulator.catalog import Kind
from lmroute.emulator.catalog import Model as Disk
from lmroute.emulator.running import running
from lmroute.emulator.settings import Loaded, Settings
from lmroute.emulator.versions import PROFILES
from lmroute.model import AUTO, Locality, Profile
from lmroute.providers.catalog import Dialect, base_url
from lmroute.providers.inventory import LISTINGS, Api, ListedModel, find, not_offered, opened, take
from lmroute.providers.inventory.lmstudio import merged

DISK = (
    Disk("test/small", context_length=4096, max_context_length=32768),
    Disk("test/large", context_length=16384, max_context_length=131072),
    Disk("text-embedding-test", Kind.EMBEDDING, context_length=2048),
)
OFFERED = {"object": "list", "data": [{"id": "test/small"}, {"id": "nomic-Embed-text"}]}
NOWHERE = {"error": "Unexpected endpoint or method."}


def profile(url, **fields):
    return Profile(**{"id": "box", "type": "lmstudio", "endpoint": url, "locality": Locality.LOOPBACK} | fields)


def taken(url, **fields):
    made = profile(url, **fields)
    with opened(made, base_url(made), LISTINGS[Dialect.OPENAI_CHAT], None, total_s=20) as line:
        inventory, _ = take(line)
    return inventory


def by_path(serve, answers, otherwise=NOWHERE):
    """A server that answers by path: ``{path: body}``."""

    def answer(_connection):
        path = server.heads[-1].split()[1].decode()
        return [serve.reply(answers.get(path, otherwise))]

    server = serve(answer)
    return server


def paths(server):
    return [head.split()[1].decode() for head in server.heads]


def v1(serve, *entries):
    """The inventory of a server with this native list and nothing else."""
    offered = {"data": [{"id": "a"}]}
    server = by_path(serve, {"/v1/models": offered, "/api/v1/models": {"models": list(entries)}})
    return taken(server.url)


@pytest.fixture(scope="module")
def emulators():
    """One emulator a release, with the second of two chat models loaded: ``emulators[release] -> url``."""
    with ExitStack() as stack:
        loaded = {"models": DISK, "loaded": (Loaded("test/large"),)}
        yield {
            name: stack.enter_context(running(Settings(version=version, **loaded))).url
            for name, version in PROFILES.items()
        }


LEVELS = {"0.3.5": Api.LMSTUDIO, "0.3.31": Api.LMSTUDIO_V0, "0.4.25": Api.LMSTUDIO_V1}


@pytest.mark.parametrize("release", PROFILES)
def test_the_level_of_api_is_found_out_by_asking(emulators, release):
    assert taken(emulators[release]).api is LEVELS[release]


@pytest.mark.parametrize("release", ["0.3.31", "0.4.25"])
def test_native_lists_tell_what_is_loaded_and_its_window(emulators, release):
    found = {m.id: (m.loaded, m.context_window, m.chats) for m in taken(emulators[release]).models}
    assert found == {
        "test/small": (False, None, True),
        "test/large": (True, 16384, True),
        "text-embedding-test": (False, None, False),
    }


def test_the_newest_list_tells_most(emulators):
    models = taken(emulators["0.4.25"]).models
    large = find(models, AUTO, profile(""))
    assert (large.parallel, large.max_context_window, large.quantization, large.format) == (4, 131072, "Q4_K_M", "gguf")
    assert large.size_bytes > 0


def test_before_native_lists_there_are_only_names(emulators):
    assert [(m.id, m.loaded, m.window) for m in taken(emulators["0.3.5"]).models if m.chats] == [
        ("test/small", None, None),
        ("test/large", None, None),
    ]


@pytest.mark.parametrize("pasted", ["", "/", "/v1", "/v1/", "/api/v1", "/api/v0/models", "/v1/chat/completions"])
def test_any_pasted_address_will_do(emulators, pasted):
    assert taken(emulators["0.4.25"] + pasted).api is Api.LMSTUDIO_V1


def test_instances_have_names_of_their_own():
    settings = Settings(models=DISK, loaded=(Loaded("test/large", "mine"), Loaded("test/large", "mine:2")))
    with running(settings) as emulator:
        models = taken(emulator.url).models
    assert [(m.id, m.key) for m in models if m.loaded] == [
        ("test/large", "test/large"),
        ("mine", "test/large"),
        ("mine:2", "test/large"),
    ]
    assert find(models, "mine", profile("")).context_window == 16384


@pytest.mark.parametrize(("jit", "expected"), [(True, True), (False, False)])
def test_whether_models_are_loaded_on_demand(jit, expected):
    with running(Settings(models=DISK, loaded=(Loaded("test/large"),), jit=jit)) as emulator:
        inventory = taken(emulator.url)
    assert inventory.loads_on_demand is expected
    small = find(inventory.models, "test/small", profile(""))
    idle = not_offered(inventory.models, "test/small", profile(""))
    assert (small is None, idle is not None) == (not jit, not jit)


@pytest.mark.parametrize(
    "missing",
    [
        ({"detail": "Not Found"}, "404 Not Found"),
        (b"<html>nginx</html>", "404 Not Found"),
        ({"status": "ok"}, "200 OK"),
    ],
    ids=["json 404", "html 404", "any json"],
)
def test_a_server_without_native_lists_and_greeting_is_another_one(serve, missing):
    def answer(_connection):
        is_list = server.heads[-1].split()[1] == b"/v1/models"
        return [serve.reply(OFFERED) if is_list else serve.reply(*missing)]

    server = serve(answer)
    inventory = taken(server.url)
    assert inventory.is_other
    assert paths(server) == ["/v1/models", "/api/v1/models", "/api/v0/models", "/lmstudio-greeting"]


@pytest.mark.parametrize("status", ["401 Unauthorized", "429 Too Many Requests", "503 Service Unavailable"])
def test_a_native_list_that_is_refused_proves_nothing(serve, status):
    def answer(_connection):
        is_list = server.heads[-1].split()[1] == b"/v1/models"
        return [serve.reply(OFFERED) if is_list else serve.reply({"error": "no"}, status)]

    server = serve(answer)
    inventory = taken(server.url)
    assert (inventory.api, inventory.is_other) == (Api.PLAIN, False)
    assert inventory.problem == f"its own list of models could not be read: /api/v1/models answers HTTP {status[:3]}"
    assert paths(server) == ["/v1/models", "/api/v1/models"]


@pytest.mark.parametrize(
    ("body", "why"), [(b'{"models": [{"ty', "the answer is cut off"), (b" " * 2_100_000, "longer than 2000000 bytes")]
)
def test_a_native_list_that_is_cut_off_or_too_long_is_told(serve, body, why):
    def answer(_connection):
        is_list = server.heads[-1].split()[1] == b"/v1/models"
        return [serve.reply(OFFERED) if is_list else serve.reply(body)]

    server = serve(answer)
    inventory = taken(server.url)
    assert (inventory.api, inventory.is_other) == (Api.PLAIN, False)
    assert why in inventory.problem


def test_an_old_server_is_known_by_its_greeting(serve):
    server = by_path(serve, {"/v1/models": OFFERED, "/lmstudio-greeting": {"lmstudio": True}})
    assert taken(server.url).api is Api.LMSTUDIO


@pytest.mark.parametrize("told", ["4096", None, 0, -1, 3.5, [], {}, True])
def test_a_window_that_is_no_number_of_tokens_is_unknown(serve, told):
    found = v1(
        serve, {"type": "llm", "key": "a", "loaded_instances": [{"id": "a", "config": {"context_length": told}}]}
    )
    assert [(m.id, m.loaded, m.window) for m in found.models] == [("a", True, None)]


@pytest.mark.parametrize("instance", [{"id": "a"}, {"id": "a", "config": None}, {"id": "a", "config": {}}])
def test_an_instance_need_not_tell_its_configuration(serve, instance):
    found = v1(serve, {"type": "llm", "key": "a", "loaded_instances": [instance]})
    assert [(m.id, m.loaded, m.window) for m in found.models] == [("a", True, None)]


@pytest.mark.parametrize("left", [3599, 0.5, None, "soon", True])
def test_remaining_seconds_tell_what_was_loaded_for_a_request(serve, left):
    instance = {"id": "a", "config": {}} | ({} if left is None else {"remaining_ttl_seconds": left})
    inventory = v1(serve, {"type": "llm", "key": "a", "loaded_instances": [instance]})
    is_number = isinstance(left, int | float) and not isinstance(left, bool)
    assert inventory.tells_ttl is is_number


def test_a_model_that_reasons_tells_its_settings(serve):
    able = {"vision": True, "trained_for_tool_use": False, "reasoning": {"allowed_options": ["off", "on"]}}
    (model,) = v1(serve, {"type": "llm", "key": "a", "capabilities": able}).models
    assert (model.vision, model.tools, model.reasoning) == (True, False, ("off", "on"))


def test_a_model_that_sees_is_a_chat_model_too(serve):
    entries = [
        {"id": "e", "type": "embeddings", "state": "loaded"},
        {"id": "v", "type": "vlm", "state": "not-loaded", "max_context_length": 9},
        {"id": "l", "type": "llm", "state": "loaded", "loaded_context_length": 8192},
    ]
    offered = {"data": [{"id": name} for name in "evl"]}
    server = by_path(serve, {"/v1/models": offered, "/api/v0/models": {"data": entries}})
    found = {m.id: (m.chats, m.loaded, m.window) for m in taken(server.url).models}
    assert found == {"e": (False, True, None), "v": (True, False, 9), "l": (True, True, 8192)}


NAMES = st.text("abAB", min_size=1, max_size=3)
MODELS = st.lists(st.builds(ListedModel, NAMES, loaded=st.sampled_from([True, False, None])), max_size=5)


@given(MODELS, MODELS)
def test_what_is_offered_stays_so_and_what_is_on_disk_only_is_not(offered, listed):
    found = merged(offered, listed)
    assert [model.id for model in found[: len(offered)]] == [model.id for model in offered]
    names = {model.id.casefold() for model in offered}
    for model in found[len(offered) :]:
        assert model.id.casefold() not in names
        assert model.offered is bool(model.loaded)
