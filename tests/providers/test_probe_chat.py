"""The seventh phase of a probe: a chat of one token, for who asks for it."""

import json
from functools import partial

import anyio
import pytest

from lmroute.emulator.catalog import Model as Disk
from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings
from lmroute.model import Load, Locality, Profile, SecretRef, SecretSource, Timeouts
from lmroute.providers.probe import Outcome, Patience, State, aprobe, probe, probe_all

AMPLE = Patience(total_s=30.0, pause_s=0.001)
REF = SecretRef(SecretSource.ENV, ("LMROUTE_TEST_TOKEN",))
USAGE = {"completion_tokens": 1}


def openai(text="H", why="stop"):
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": why}], "usage": USAGE}


# kind: (path of its list, path of its chat, list, what is sent with one token, answers)

HI = [{"role": "user", "content": "Hi"}]
OPENAI_LIST = {"data": [{"id": "m"}]}
OPENAI_ANSWERS = [openai(), openai("", "length"), openai(None, "length")]
DIALECTS = {
    "openai_compatible": (
        "/v1/models",
        "/v1/chat/completions",
        OPENAI_LIST,
        {"model": "m", "messages": HI, "max_tokens": 1},
        OPENAI_ANSWERS,
    ),
    "openai": (
        "/v1/models",
        "/v1/chat/completions",
        OPENAI_LIST,
        {"model": "m", "messages": HI, "max_completion_tokens": 1},
        OPENAI_ANSWERS,
    ),
    "openrouter": (
        "/api/v1/models",
        "/api/v1/chat/completions",
        OPENAI_LIST,
        {"model": "m", "messages": HI, "max_tokens": 1},
        OPENAI_ANSWERS,
    ),
    "anthropic": (
        "/v1/models?limit=1000",
        "/v1/messages",
        OPENAI_LIST,
        {"model": "m", "messages": HI, "max_tokens": 1},
        [
            {"type": "message", "content": [{"type": "text", "text": "H"}], "stop_reason": "max_tokens"},
            {"type": "message", "content": [], "stop_reason": "max_tokens"},
        ],
    ),
    "gemini": (
        "/v1beta/models?pageSize=1000",
        "/v1beta/models/m:generateContent",
        {"models": [{"name": "models/m"}]},
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 1}},
        [
            {"candidates": [{"content": {"parts": [{"text": "H"}]}, "finishReason": "STOP"}]},
            {"candidates": [{"finishReason": "MAX_TOKENS"}]},
        ],
    ),
}
GOOD = [(kind, answer) for kind, (*_, answers) in DIALECTS.items() for answer in answers]
STRANGE = [
    {},
    [],
    7,
    {"choices": []},
    {"choices": [{}]},
    {"choices": [{"message": None, "finish_reason": "stop"}]},
    {"choices": [{"message": {}}]},
    {"type": "message", "content": []},
    {"type": "message", "content": "text"},
    {"type": "error", "content": [{}]},
    {"candidates": []},
    {"candidates": [{}]},
    {"candidates": {"content": {}}},
]


@pytest.fixture
def box(native):
    """``box(kind, *answers, **profile) -> Native``: a server that lists ``m`` and answers chats in turn."""

    def start(kind, *answers, **fields):
        listing, chat, models, *_ = DIALECTS[kind]
        left = iter(answers)
        return native(kind, {listing: models, chat: lambda _body: next(left)}, **fields)

    return start


def bodies(box):
    """What was sent with POST, in order."""
    parts = [head.partition(b"\r\n\r\n") for head in box.server.heads if head.startswith(b"POST")]
    return [json.loads(body) for _, _, body in parts]


def chat_of(result):
    """The seventh phase."""
    assert [phase.name for phase in result.phases] == ["dns", "connect", "tls", "auth", "list", "model", "chat"]
    return result.phases[6]


@pytest.mark.parametrize(("kind", "answer"), GOOD, ids=[f"{kind} {n}" for n, (kind, _) in enumerate(GOOD)])
def test_an_answer_in_the_shape_of_its_dialect(box, kind, answer):
    ours = box(kind, answer)
    result = probe(ours.profile, chat=True, patience=AMPLE)
    assert (result.state, result.message, result.tries) == (State.HEALTHY, "", 1)
    chat = chat_of(result)
    assert (chat.outcome, chat.note) == (Outcome.OK, "with 'm'")
    assert chat.ms > 0
    assert bodies(ours) == [DIALECTS[kind][3]]


def test_without_being_asked_for_there_is_none(box):
    ours = box("openai")
    result = probe(ours.profile, patience=AMPLE)
    assert len(result.phases) == 6
    assert bodies(ours) == []


@pytest.mark.parametrize("answer", STRANGE, ids=str)
@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
def test_an_answer_that_is_none(box, kind, answer):
    result = probe(box(kind, answer).profile, chat=True, patience=AMPLE)
    assert (result.state, result.error_code) == (State.MISCONFIGURED, "unexpected_shape")
    assert "a chat with 'm': the answer is JSON, but no answer to a chat" in result.message
    assert chat_of(result).outcome is Outcome.FAILED
    assert result.listed


REFUSALS = {
    "ollama": ("404 Not Found", {"error": {"message": 'model "m" not found, try pulling it first'}}, "model_not_found"),
    "vllm": ("404 Not Found", {"message": "The model `m` does not exist."}, "model_not_found"),
    "openai": ("404 Not Found", {"error": {"message": "No.", "code": "model_not_found"}}, "model_not_found"),
    "anthropic": ("404 Not Found", {"type": "error", "error": {"message": "model: m"}}, "model_not_found"),
    "gemini": ("404 Not Found", {"error": {"message": "models/m is not found for API"}}, "model_not_found"),
    "lm studio": ("400 Bad Request", {"error": {"message": "No models loaded. Please …"}}, "model_not_found"),
    "lm studio's load": ("400 Bad Request", {"error": {"message": 'Failed to load model "m".'}}, "server_error"),
    "a crash": ("400 Bad Request", {"error": "The model has crashed without …"}, "server_error"),
    "a path": ("404 Not Found", {"detail": "Not Found"}, "not_found"),
    "in a success": ("200 OK", {"error": "Unexpected endpoint or method. (POST /chat)"}, "not_found"),
    "a token": ("401 Unauthorized", {"error": "no"}, "token_refused"),
    "too many": ("429 Too Many Requests", {"error": "slow down"}, "rate_limited"),
    "loading": ("503 Unavailable", {"error": {"message": "Loading model"}}, "model_loading"),
    "money": ("402 Payment Required", {"error": "pay"}, "http_error"),
    "what it is": ("400 Bad Request", {"error": "what is 'messages'?"}, "http_error"),
}


@pytest.mark.parametrize(("status", "body", "code"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_named_by_the_table(box, serve, status, body, code):
    ours = box("openai_compatible", serve.reply(body, status, "Retry-After: 7"))
    result = probe(ours.profile, chat=True, patience=AMPLE)
    assert result.error_code == code
    assert result.fix
    assert result.retry_after_s == (None if status == "200 OK" else 7)
    assert len(bodies(ours)) == 1, "a chat is billed, so it is asked once"


@pytest.mark.parametrize(
    ("said", "second"),
    [
        ("max_tokens or model output limit was reached. Try again with higher max_tokens.", {"max_tokens": 16}),
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", {"max_completion_tokens": 16}),
    ],
)
def test_a_model_that_wants_more_tokens_is_asked_once_more(box, serve, said, second):
    ours = box("openai_compatible", serve.reply({"error": {"message": said}}, "400 Bad Request"), openai())
    assert chat_of(probe(ours.profile, chat=True, patience=AMPLE)).outcome is Outcome.OK
    assert bodies(ours)[1] == {"model": "m", "messages": HI} | second


def test_a_model_that_never_has_enough_tokens(box, serve):
    refusal = serve.reply({"error": {"message": "max_tokens is too small"}}, "400 Bad Request")
    ours = box("openai", refusal, refusal)
    assert probe(ours.profile, chat=True, patience=AMPLE).error_code == "http_error"
    assert len(bodies(ours)) == 2


def test_the_first_configured_model_that_is_there_is_asked(native):
    answers = {"/v1/models": {"data": [{"id": "a"}, {"id": "b"}]}, "/v1/chat/completions": openai()}
    ours = native("openai", answers, models=("gone", "b", "a"))
    result = probe(ours.profile, chat=True, patience=AMPLE)
    assert bodies(ours)[0]["model"] == "b"
    assert (result.state, result.error_code, result.missing) == (State.DEGRADED, "model_not_found", ("gone",))
    assert chat_of(result).outcome is Outcome.OK


def test_a_model_is_asked_under_the_name_that_the_profile_has_for_it(native):
    answers = {"/v1/models?limit=1000": {"data": [{"id": "m-20260101"}]}}
    answers["/v1/messages"] = DIALECTS["anthropic"][4][0]
    for name, sent in (("m-latest", "m-latest"), ("auto", "m-20260101")):
        ours = native("anthropic", answers, models=(name,))
        assert chat_of(probe(ours.profile, chat=True, patience=AMPLE)).outcome is Outcome.OK
        assert bodies(ours)[0]["model"] == sent


@pytest.mark.parametrize("answers", [{}, {"/v1/models": {"data": []}}], ids=["no list", "no models"])
def test_where_no_model_is_known_none_is_asked(native, answers):
    ours = native("openai", answers)
    chat = chat_of(probe(ours.profile, chat=True, patience=AMPLE))
    assert (chat.outcome, chat.note) == (Outcome.SKIPPED, "not asked: no model is known that could answer")
    assert bodies(ours) == []


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (Profile("x", "litellm"), "LiteLLM's own engine"),
        (Profile("x", "embedded", locality=Locality.EMBEDDED), "a call starts it"),
        (Profile("x", "openai", auth_token=REF), "LMROUTE_TEST_TOKEN"),
    ],
    ids=["litellm", "embedded", "no token"],
)
def test_what_is_not_asked_says_why(profile, why, monkeypatch):
    monkeypatch.delenv("LMROUTE_TEST_TOKEN", raising=False)
    chat = chat_of(probe(profile, chat=True))
    assert chat.outcome is Outcome.SKIPPED
    assert chat.note.startswith("not asked: ")
    assert why in chat.note


def test_a_chat_has_a_bound_of_its_own(native):
    """The try's is far longer here; what ends it are the profile's load_s and total_s."""

    def hang(_connection):
        if b"POST" not in ours.server.heads[-1]:
            return [listing]
        ours.server.stopping.wait(30)
        return []

    ours = native("openai", {}, timeouts=Timeouts(load_s=0.2, total_s=0.1))
    listing = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"data": [{"id": "m"}]}'
    ours.server.answer = hang
    result = probe(ours.profile, chat=True, patience=Patience(total_s=25.0))
    assert (result.state, result.error_code) == (State.DOWN, "timeout")
    assert chat_of(result).outcome is Outcome.FAILED
    assert chat_of(result).ms < 20_000


@pytest.mark.parametrize("raw", [b"", b"\x00\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n<p>"], ids=["ends", "garbage", "html"])
def test_a_chat_may_break_as_a_list_may(box, raw):
    result = probe(box("openai", raw).profile, chat=True, patience=AMPLE)
    assert result.error_code in {"connection_reset", "protocol_error", "not_json"}
    assert result.message.partition("/v1: ")[2].startswith("a chat with 'm': ")


def test_all_doors_can_ask_for_it(box):
    ours = box("openai", openai(), openai())
    assert chat_of(probe_all([ours.profile], chat=True, patience=AMPLE)["box"]).outcome is Outcome.OK
    found = anyio.run(partial(aprobe, ours.profile, chat=True, patience=AMPLE))
    assert chat_of(found).outcome is Outcome.OK


# LM Studio, as the emulator speaks it

DISK = (Disk("test/small", context_length=4096), Disk("test/large", context_length=4096))


def test_lm_studio_loads_the_model_for_it():
    with running(Settings(models=DISK, loaded=())) as emulator:
        profile = partial(Profile, "box", "lmstudio", emulator.url, locality=Locality.LOOPBACK)
        before = probe(profile(), patience=AMPLE)
        result = probe(profile(models=("test/large",), load=Load(ttl_s=60)), chat=True, patience=AMPLE)
        after = probe(profile(), patience=AMPLE)
    assert chat_of(result).outcome is Outcome.OK
    assert not any(model.loaded for model in before.models)
    assert [model.key for model in after.models if model.loaded][:1] == ["test/large"]
    assert 0 < next(model.ttl_s for model in after.models if model.loaded) <= 60


def test_an_answer_from_another_model_is_no_answer(native):
    models = {"data": [{"id": "m", "owned_by": "organization_owner"}, {"id": "n"}]}
    answers = {"/v1/models": models, "/v1/chat/completions": openai() | {"model": "n"}}
    missing = {"error": "Unexpected endpoint or method."}
    ours = native("lmstudio", answers, missing, models=("m",))
    result = probe(ours.profile, chat=True, patience=AMPLE)
    assert (result.error_code, chat_of(result).outcome) == ("model_not_found", Outcome.FAILED)
    assert "a chat with 'm': 'n' answered instead" in result.message
    warned = native("lmstudio", answers, missing, models=("m",), on_substitution="warn")
    assert probe(warned.profile, chat=True, patience=AMPLE).state is State.HEALTHY
