"""Children against the LM Studio emulator: models, windows, tokens, comings and goings, loops and threads."""

import json
import logging
import re
from dataclasses import replace

import pytest
from dspy import lm15

from lmroute.emulator.backends.script import Line
from lmroute.emulator.catalog import Model
from lmroute.emulator.running import running
from lmroute.emulator.settings import Loaded, Settings, Token
from lmroute.emulator.versions import PROFILES
from lmroute.engine.live.learnt import Learnt
from lmroute.engine.trace import notes_of
from lmroute.engine.verdicts import NotReadyError, classify
from lmroute.model import AUTO, Candidate, Capabilities, Failure, Load, LoadMode, Secret, SecretRef, SecretSource

TERN, HERON = "rookery/tern-3b-instruct", "rookery/heron-8b-instruct"
TOKEN = "sk-lm-abcdefgh:ABCDEFGHIJKLMNOPQRST"
KEY = SecretRef(SecretSource.ENV, ("EMULATOR_TOKEN",))
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.fixture(scope="module")
def locked():
    with running(Settings(require_auth=True, tokens=(Token(Secret(TOKEN)),))) as made:
        yield made.url


def test_auto_is_the_loaded_model_and_teaches_its_window(mode, make, lmstudio, emulator):
    learnt = Learnt()
    engine = mode.provider(lmstudio(emulator), learnt)
    response = mode.complete(engine, make.ask("hello there", model=AUTO))
    assert (response.text, response.model) == ("You said: hello there", TERN)
    assert learnt.windows == {Candidate("lmstudio", AUTO): 4096}


def test_auto_prefers_what_is_loaded_to_what_is_listed_first(mode, make, lmstudio):
    models = Model(TERN), Model(HERON, context_length=777)
    learnt = Learnt()
    with running(Settings(models=models, loaded=(Loaded(HERON, "my-heron"),))) as emulated:
        response = mode.complete(mode.provider(lmstudio(emulated.url), learnt), make.ask(model=AUTO))
    assert response.model == "my-heron"
    assert learnt.windows == {Candidate("lmstudio", AUTO): 777}


def test_streams_too(mode, make, lmstudio, emulator):
    events = mode.stream(mode.provider(lmstudio(emulator)), make.ask("hello there", model=AUTO))
    assert [events[0].type, events[0].model, events[-1].type] == ["start", TERN, "end"]
    assert "".join(e.delta.text for e in events if e.type == "delta") == "You said: hello there"
    assert events[-1].usage.output_tokens > 0


@pytest.mark.parametrize("split", [1, 7])
def test_a_stream_in_pieces_is_the_same(mode, make, lmstudio, split):
    script = (Line(re.compile("."), "grüße, 你好 🙂"),)
    with running(Settings(split=split, script=script)) as emulated:
        events = mode.stream(mode.provider(lmstudio(emulated.url)), make.ask(model=AUTO))
    assert "".join(e.delta.text for e in events if e.type == "delta") == "grüße, 你好 🙂"


def test_a_server_that_tells_nothing_is_asked_all_the_same(mode, make, server):
    server.answers(server.http(server.chat(model="m")))
    engine = mode.provider(server.profile(type="lmstudio"))
    mode.complete(engine, make.ask(model="m"))
    assert [request.path for request in server.received] == ["/v1/chat/completions"]


@pytest.mark.parametrize("name", [AUTO, "m"])
def test_a_loaded_model_is_looked_up_once(mode, make, server, name):
    engine = mode.provider(server.profile(type="lmstudio"))
    listed = server.lists = Counted(
        {
            "/v1/models": {"data": [{"id": "m"}]},
            "/api/v1/models": {"models": [{"type": "llm", "key": "m", "loaded_instances": [{"id": "m"}]}]},
        }
    )
    server.answers(server.http(server.chat(model="m")))
    for _ in range(3):
        mode.complete(engine, make.ask(model=name))
    assert listed.asked == ["/v1/models", "/api/v1/models"]


class Counted(dict):
    """Lists that remember which of them were asked for."""

    def __init__(self, lists):
        super().__init__(lists)
        self.asked = []

    def __getitem__(self, path):
        self.asked.append(path)
        return super().__getitem__(path)


def test_a_named_model_is_loaded_on_request(mode, make, lmstudio):
    with running() as emulated:
        response = mode.complete(mode.provider(lmstudio(emulated.url)), make.ask(model=HERON))
    assert response.model == HERON


@pytest.mark.parametrize("asked", [TERN.upper(), f"{TERN}@q4_k_m"])
def test_another_spelling_of_the_same_model_is_no_substitution(mode, make, lmstudio, emulator, asked):
    assert mode.complete(mode.provider(lmstudio(emulator)), make.ask(model=asked)).model == TERN


def test_a_model_that_the_server_does_not_have_is_not_asked_for(mode, make, lmstudio, emulator):
    engine = mode.provider(lmstudio(emulator))
    for ask in (mode.complete, mode.stream):
        with pytest.raises(lm15.UnsupportedModelError, match="has no model 'gone'") as caught:
            ask(engine, make.ask(model="gone"))
        assert classify(caught.value) is Failure.UNSUPPORTED_MODEL


def test_a_substituted_model_is_an_error(mode, make, server):
    """LM Studio before 0.3.6 tells only names, and answers any other by the model that is loaded."""
    engine = mode.provider(server.profile(type="lmstudio"))
    server.answers(server.http(server.chat(model="m")))
    with pytest.raises(lm15.UnsupportedModelError, match="asked for 'gone', answered by 'm'") as caught:
        mode.complete(engine, make.ask(model="gone"))
    assert classify(caught.value) is Failure.MODEL_SUBSTITUTED
    server.answers(server.good_stream)
    with pytest.raises(lm15.UnsupportedModelError, match="asked for 'gone', answered by 'm'"):
        mode.stream(engine, make.ask(model="gone"))


@pytest.mark.parametrize("version", ["0.4.25", "0.3.31", "0.3.5"])
def test_an_identifier_that_ends_in_a_number_is_no_copy(mode, make, lmstudio, version):
    settings = Settings(version=PROFILES[version], jit=False, loaded=(Loaded(TERN, "team:1"), Loaded(HERON, "team:2")))
    with running(settings) as emulated:
        engine = mode.provider(lmstudio(emulated.url))
        assert mode.complete(engine, make.ask(model="team:2")).model == "team:2"
        emulated.unload("team:2")
        for _ in range(2):  # what it was known to have first, and what it is found to have then
            with pytest.raises(lm15.UnsupportedModelError, match="team:2"):
                mode.complete(engine, make.ask(model="team:2"))


@pytest.mark.parametrize("version", ["0.4.25", "0.3.31"])
def test_a_variant_that_is_not_on_disk_is_not_answered_by_another_one(mode, make, lmstudio, version):
    settings = Settings(version=PROFILES[version], jit=False, loaded=(Loaded(TERN),))
    with running(settings) as emulated:
        with pytest.raises(lm15.UnsupportedModelError, match="q8_0"):
            mode.complete(mode.provider(lmstudio(emulated.url)), make.ask(model=f"{TERN}@q8_0"))
        lenient = mode.provider(lmstudio(emulated.url, on_substitution="warn"))
        told = mode.complete(lenient, make.ask(model=f"{TERN}@q8_0"))
        assert notes_of(told) == (f"asked for '{TERN}@q8_0', answered by '{TERN}'",)


@pytest.mark.parametrize("jit", [True, False])
def test_an_embedding_model_is_called_that(mode, make, lmstudio, jit):
    words = "is an embedding model, it answers no chat; name a chat model under providers.lmstudio.models"
    with running(Settings(jit=jit)) as emulated, pytest.raises(lm15.UnsupportedModelError, match=words):
        mode.complete(mode.provider(lmstudio(emulated.url)), make.ask(model="text-embedding-wren-v1"))


def test_a_name_that_a_person_gave_a_loaded_model_is_no_substitution(mode, make, lmstudio):
    with running(Settings(loaded=(Loaded(TERN, "mine"),))) as emulated:
        engine = mode.provider(lmstudio(emulated.url))
        assert mode.complete(engine, make.ask(model=TERN)).model == "mine"
        assert mode.stream(engine, make.ask(model=TERN))[0].model == "mine"


def test_a_model_that_is_on_disk_only_is_not_asked_for(mode, make, lmstudio):
    with running(Settings(jit=False)) as emulated:
        engine = mode.provider(lmstudio(emulated.url))
        with pytest.raises(lm15.UnsupportedModelError, match="not loaded and just-in-time loading is off: load it"):
            mode.complete(engine, make.ask(model=HERON))


def test_an_explicit_profile_loads_first_and_once(mode, make, lmstudio):
    learnt, candidate = Learnt(), Candidate("lmstudio", HERON)
    load = Load(LoadMode.EXPLICIT, context_length=9000)
    with running(Settings(jit=False)) as emulated:
        for _ in range(2):  # another process finds it there
            engine = mode.provider(replace(lmstudio(emulated.url), load=load, models=(HERON,)), learnt)
            assert mode.complete(engine, make.ask(model=HERON)).model == HERON
            assert learnt.windows == {candidate: 9000}
            assert learnt.staying == {candidate}


def test_a_profile_may_take_a_substitute_with_a_warning(mode, make, lmstudio, emulator, caplog):
    engine = mode.provider(lmstudio(emulator, on_substitution="warn"))
    with caplog.at_level(logging.WARNING, "lmroute.engine"):
        assert mode.complete(engine, make.ask(model="gone")).model == TERN
    assert caplog.messages == [f"lmstudio: asked for 'gone', answered by '{TERN}'"]


def test_servers_that_answer_under_names_of_their_own_are_believed(mode, make, server):
    server.answers(server.http(server.chat(model="gpt-4.1-mini-2026-04-14")))
    assert mode.complete(mode.provider(server.profile()), make.ask(model="gpt-4.1-mini")).text == "hi"


def test_a_model_that_changed_is_found_out_when_it_answers(mode, make, lmstudio):
    """The server came back with another model loaded; nothing failed in between."""
    small, large = Model("a/small", context_length=1000), Model("a/large", context_length=9000)
    learnt = Learnt()
    candidate = Candidate("lmstudio", AUTO)
    with running(Settings(models=(small,))) as emulated:
        engine = mode.provider(lmstudio(emulated.url), learnt)
        assert mode.complete(engine, make.ask(model=AUTO)).model == "a/small"
    with running(Settings(models=(large,)), port=int(emulated.url.rpartition(":")[2])):
        assert mode.complete(engine, make.ask(model=AUTO)).model == "a/large"
        assert learnt.windows == {candidate: 1000}  # known from the answer only, and so looked up the next time
        assert mode.complete(engine, make.ask(model=AUTO)).model == "a/large"
        assert learnt.windows == {candidate: 9000}


def test_gone_and_back_with_another_model(mode, make, lmstudio):
    with running(Settings(models=(Model("a/one"),))) as emulated:
        engine = mode.provider(lmstudio(emulated.url))
        assert mode.complete(engine, make.ask(model=AUTO)).model == "a/one"
    with pytest.raises(lm15.TransportError):
        mode.complete(engine, make.ask(model=AUTO))
    with pytest.raises(lm15.TransportError, match="connection refused"):
        mode.complete(engine, make.ask(model=AUTO))
    with running(Settings(models=(Model("a/two"), Model("a/one"))), port=int(emulated.url.rpartition(":")[2])):
        assert mode.complete(engine, make.ask(model=AUTO)).model == "a/two"


def test_an_overflow_is_one(mode, make, lmstudio):
    with running(Settings(models=(Model("a/tiny", context_length=20),))) as emulated:
        engine = mode.provider(lmstudio(emulated.url))
        for ask in (mode.complete, mode.stream):
            with pytest.raises(lm15.ContextLengthError):
                ask(engine, make.ask("many words " * 30, model=AUTO))


def test_no_model_at_all(mode, make, lmstudio):
    with running(Settings(models=())) as emulated:
        engine = mode.provider(lmstudio(emulated.url))
        with pytest.raises(NotReadyError, match="no chat model; load one"):
            mode.complete(engine, make.ask(model=AUTO))


def test_a_schema_is_kept_to(mode, make, lmstudio, emulator):
    format_ = {"type": "json_schema", "name": "answer", "schema": SCHEMA}
    response = mode.complete(mode.provider(lmstudio(emulator)), make.ask(model=AUTO, response_format=format_))
    assert json.loads(response.text).keys() == {"n"}


def test_json_object_would_be_refused_so_it_goes_as_a_schema(mode, make, lmstudio, emulator):
    profile = lmstudio(emulator)
    request = make.ask(model=AUTO, response_format={"type": "json_object"})
    with pytest.raises(lm15.InvalidRequestError, match="response_format"):
        mode.complete(mode.provider(profile), request)
    engine = mode.router(make.stack(profile), {"lmstudio": mode.provider(profile)})
    assert isinstance(json.loads(mode.complete(engine, request).text), dict)


@pytest.mark.parametrize("suffix", ["/v1", "/v1/", "/", "/v1/chat/completions", "/api/v1/models"])
def test_an_endpoint_as_it_is_pasted(mode, make, lmstudio, emulator, suffix):
    assert mode.complete(mode.provider(lmstudio(emulator + suffix)), make.ask(model=AUTO)).model == TERN


@pytest.mark.parametrize("model", [AUTO, TERN])
def test_a_token_lets_in(mode, make, lmstudio, locked, model, monkeypatch):  # noqa: PLR0917
    monkeypatch.setenv("EMULATOR_TOKEN", TOKEN)
    assert mode.complete(mode.provider(lmstudio(locked, auth_token=KEY)), make.ask(model=model)).model == TERN


@pytest.mark.parametrize("model", [AUTO, TERN])
def test_no_token_is_an_auth_failure_that_says_so(mode, make, lmstudio, locked, model):
    engine = mode.provider(lmstudio(locked, auth_token=replace(KEY, optional=True)))
    with pytest.raises(lm15.AuthError, match="API token"):
        mode.complete(engine, make.ask(model=model))


@pytest.mark.parametrize("model", [AUTO, TERN])
def test_a_required_token_that_is_missing_stops_before_the_server(mode, make, server, model):
    profile = server.profile(type="lmstudio", auth_token=KEY)
    with pytest.raises(lm15.NotConfiguredError, match="environment variable EMULATOR_TOKEN is not set"):
        mode.complete(mode.provider(profile), make.ask(model=model))
    assert not server.received


def test_a_wrong_token_is_refused_and_the_right_one_is_taken_up(mode, make, lmstudio, locked, monkeypatch):
    monkeypatch.setenv("EMULATOR_TOKEN", "sk-lm-abcdefgh:00000000000000000000")
    engine = mode.provider(lmstudio(locked, auth_token=KEY))
    for _ in range(2):
        with pytest.raises(lm15.AuthError):
            mode.complete(engine, make.ask(model=TERN))
    monkeypatch.setenv("EMULATOR_TOKEN", TOKEN)
    assert mode.complete(engine, make.ask(model=TERN)).model == TERN


def test_a_new_token_keeps_the_connections(mode, make, server, monkeypatch):
    server.answers(server.http({"error": "who?"}, "401 Unauthorized"), server.http(server.chat()))
    engine = mode.provider(server.profile(auth_token=KEY))
    monkeypatch.setenv("EMULATOR_TOKEN", "token-one")
    with pytest.raises(lm15.AuthError):
        mode.complete(engine, make.ask(model="m"))
    monkeypatch.setenv("EMULATOR_TOKEN", "token-two")
    assert mode.complete(engine, make.ask(model="m")).text == "hi"
    assert [r.header("Authorization") for r in server.received] == ["Bearer token-one", "Bearer token-two"]
    assert server.accepted == 1


def test_an_absent_optional_token_means_no_token(mode, make, server):
    server.answers(server.http(server.chat()))
    profile = server.profile(auth_token=replace(KEY, optional=True))
    mode.complete(mode.provider(profile), make.ask(model="m"))
    assert server.received[0].header("Authorization") == []


def test_a_token_that_the_server_echoes_is_shown_nowhere(mode, make, server, monkeypatch):
    monkeypatch.setenv("EMULATOR_TOKEN", "open-sesame-42")
    server.answers(server.http({"error": {"message": "Unknown token open-sesame-42, sorry"}}, "401 Unauthorized"))
    engine = mode.provider(server.profile(auth_token=KEY))
    with pytest.raises(lm15.AuthError, match=r"Unknown token \*\*\*, sorry") as caught:
        mode.complete(engine, make.ask(model="m"))
    chain = caught.value
    while chain is not None:
        assert "sesame" not in f"{chain} {chain!r} {chain.args}"
        chain = chain.__cause__ or chain.__context__


def test_errors_name_the_profile(mode, make, server):
    server.answers(server.http({"error": "oops"}, "500 Internal Server Error"))
    with pytest.raises(lm15.ServerError, match="my_server, HTTP 500"):
        mode.complete(mode.provider(server.profile(id="my_server")), make.ask(model="m"))


@pytest.mark.parametrize("id_", ["A", "a_", "a__b", "openai", "lm_studio", "x-Y-9"])
def test_any_id_will_do(mode, make, server, id_):
    server.answers(server.http(server.chat()))
    assert mode.complete(mode.provider(server.profile(id=id_)), make.ask(model="m")).text == "hi"


@pytest.mark.parametrize(("options", "sent"), [(["off", "on"], "low"), (None, None), ([], None)])
def test_whether_a_model_reasons_is_the_servers_word(mode, make, server, options, sent):
    able = {} if options is None else {"reasoning": {"allowed_options": options}}
    entry = {"type": "llm", "key": "m", "loaded_instances": [{"id": "m"}], "capabilities": able}
    profile = server.profile(type="lmstudio", capabilities=Capabilities(reasoning=options is not None and not options))
    server.lists = {"/v1/models": {"data": [{"id": "m"}]}, "/api/v1/models": {"models": [entry]}}
    server.answers(server.http(server.chat(model="m")))
    response = mode.complete(mode.provider(profile), make.ask(model="m", reasoning=lm15.Reasoning(effort="low")))
    assert server.received[0].json.get("reasoning_effort") == sent
    noted = (response.provider_data or {}).get("lmroute", ())
    assert noted == (() if sent else ["reasoning_effort not sent, the model is not known to reason"])
