"""Every error that LM Studio is known to answer with, in each way it comes: what DSPy gets and what routing does.

The ids are those of the contract: E1 to E22 and those of a token. Texts are LM Studio's wordings with invented names.
"""

import pytest
from dspy import lm15

from lmroute.engine.verdicts import NotReadyError, classify
from lmroute.model import Failure, SecretRef, SecretSource

MALFORMED_TOKEN = "Malformed LM Studio API token provided: abcdefghij**********. Ensure you are using a valid token."
NO_TOKEN = (
    "An LM Studio API token is required to make requests to this server, but none was provided using the "
    "Authorization header using the 'Bearer' scheme (i.e., 'Authorization: Bearer $LM_API_TOKEN')."
)
PAGE = "<!DOCTYPE html><html><head><title>Error</title></head><body><pre>Internal Server Error</pre></body></html>"


def told(message, type_="invalid_request_error", param="model", code=None):
    """The object form of an error."""
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def in_a_stream(message):
    """What LM Studio puts after ``event: error``."""
    return {"error": {"message": message}, "message": message}


OVERFLOW = (lm15.ContextLengthError, Failure.CONTEXT_LENGTH)
NO_MODEL = (lm15.UnsupportedModelError, Failure.UNSUPPORTED_MODEL)
NO_LOAD = (NotReadyError, Failure.UNAVAILABLE)
CRASH = (lm15.ServerError, Failure.SERVER)
MALFORMED = (lm15.InvalidRequestError, Failure.INVALID_REQUEST)
REFUSED = (lm15.AuthError, Failure.AUTH)
NO_ENDPOINT = (lm15.ProviderError, Failure.BAD_REPLY)
ODD = (lm15.ProviderError, Failure.BAD_REPLY)

OUTGROWN = (
    "Trying to keep the first 5052 tokens when context the overflows. However, the model is loaded with context "
    "length of only 4096 tokens, which is not enough."
)
KEEPS = "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 8>= n_ctx: 4)"
TOO_LONG = "Input does not fit in context length. The input has 31 tokens, but the context length only supports 30."
LLAMA = "request (17 tokens) exceeds the available context size (8 tokens), try increasing it"
NONE_LOADED = "No models loaded. Please load a model in the developer page or use the 'lms load' command."
UNKNOWN = 'Invalid model identifier "plover". Please specify a valid downloaded model (e.g., inc/tern-7b).'
UNKNOWN_035 = 'Model "plover" not found. Please specify a valid model.\n\nYour models:\n\ninc/tern-7b'
SEVERAL = "Multiple models are loaded. Please specify a model by providing a 'model' field in the request body."
UNLOADABLE = 'Failed to load model "inc/tern-7b". Error: Failed to load model.'
GUARDED = "Failed to load LLM 'inc/tern-7b': Error: Model loading was stopped due to insufficient system resources."
JSON_OBJECT = "'response_format.type' must be 'json_schema' or 'text'"
CHOICE = "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"
EFFORT = "Invalid 'reasoning_effort' value: 'off'. Supported values: none, minimal, low, medium, high, xhigh."
NO_TYPE = [{"code": "invalid_union_discriminator", "path": [0, "type"], "message": "Invalid discriminator value."}]

BODIES = {
    "E1": (200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, NO_ENDPOINT),
    "E2": (400, told(NONE_LOADED), NO_MODEL),
    "E2 of 0.3.5": (404, told(NONE_LOADED), NO_MODEL),
    "E4": (400, told(UNKNOWN, code="model_not_found"), NO_MODEL),
    "E4b": (404, told(UNKNOWN_035, code="model_not_found"), NO_MODEL),
    "E5": (400, told(SEVERAL), NO_MODEL),
    "E6": (400, told('Invalid model identifier ""'), NO_MODEL),
    "E7": (400, told(UNLOADABLE), NO_LOAD),
    "E7 with a code": (400, told(UNLOADABLE, code="model_not_found"), NO_LOAD),
    "E7 canceled": (400, told('Failed to load model "x". Error: Operation canceled.'), NO_LOAD),
    "E7 guarded": (500, {"error": {"type": "model_load_failed", "message": GUARDED}}, NO_LOAD),
    "E7 by its type": (500, {"error": {"type": "model_load_failed", "message": "LM Link connection closed"}}, NO_LOAD),
    "E8": (400, {"error": "Model unloaded."}, CRASH),
    "E8 is": (400, {"error": "Model is unloaded."}, CRASH),
    "E8 or crashed": (400, {"error": "Model has unloaded or crashed."}, CRASH),
    "E9": (400, {"error": "The model has crashed without additional information. (Exit code: 6)"}, CRASH),
    "E9 null": (400, {"error": "The model has crashed without additional information. (Exit code: null)"}, CRASH),
    "E10": (400, {"error": OUTGROWN}, OVERFLOW),
    "E11": (400, {"error": KEEPS}, OVERFLOW),
    "E11 in 500": (500, told(KEEPS), OVERFLOW),
    "E12": (400, in_a_stream(TOO_LONG), OVERFLOW),
    "E13": (400, {"error": "Context size has been exceeded."}, OVERFLOW),
    "E13 in 500": (500, {"error": "Context size has been exceeded."}, OVERFLOW),
    "E14": (400, {"error": {"code": 400, "message": LLAMA, "type": "exceed_context_size_error"}}, OVERFLOW),
    "E14 in 200": (200, {"error": {"code": 400, "message": LLAMA, "type": "exceed_context_size_error"}}, OVERFLOW),
    "E14 by its type": (
        400,
        {"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error"}},
        OVERFLOW,
    ),
    "E14 nothing but a type": (400, {"error": {"type": "exceed_context_size_error"}}, OVERFLOW),
    "E15": (400, {"error": JSON_OBJECT}, MALFORMED),
    "E16": (400, {"error": CHOICE}, MALFORMED),
    "E17": (400, {"error": "'messages' field is required"}, MALFORMED),
    "E18": (401, told(NO_TOKEN, "invalid_request", code="invalid_api_key"), REFUSED),
    "E18 malformed": (401, told(MALFORMED_TOKEN, "invalid_request", code="invalid_api_key"), REFUSED),
    "E19": (400, in_a_stream("Compute error."), CRASH),
    "E22": (400, {"error": "_0x48eeaf is not iterable"}, MALFORMED),
    "a bad effort": (400, told(EFFORT, param="reasoning_effort", code="invalid_value"), MALFORMED),
    "a validator's list": (400, NO_TYPE, MALFORMED),
}
BY_STATUS_ONLY = {
    "E18 forbidden": (403, told("Permission denied to use plugin 'mcp/x'.", "invalid_request"), REFUSED),
    "E20": (500, PAGE, CRASH),
    "E21": (400, "no JSON", MALFORMED),
    "E22 in 500": (500, {"error": "_0x48eeaf is not iterable"}, CRASH),
}
"""Errors whose text says nothing, so that they mean something only with their status."""

AFTERWARDS = {"a validator's list", "E22"}
"""Not in the table of streams: only known as whole bodies, whose status says what they are."""
IN_STREAMS = {id_: (body, expected) for id_, (_, body, expected) in BODIES.items() if id_ not in AFTERWARDS}


@pytest.fixture
def lmstudio_at(mode, server):
    return lambda **fields: mode.provider(server.profile(type="lmstudio", **fields))


def raised_by(asks):
    with pytest.raises(lm15.LM15Error) as caught:
        asks()
    return caught.value


def is_as(error, expected):
    kind, failure = expected
    assert isinstance(error, kind), error
    assert classify(error) is failure, error


WHOLE = {**BODIES, **BY_STATUS_ONLY}


@pytest.mark.parametrize("asks", ["complete", "stream"])
@pytest.mark.parametrize(("status", "body", "expected"), WHOLE.values(), ids=WHOLE)
def test_an_error_with_its_status(mode, make, server, lmstudio_at, asks, status, body, expected):  # noqa: PLR0917
    server.answers(server.http(body, f"{status} X"))
    error = raised_by(lambda: getattr(mode, asks)(lmstudio_at(), make.ask(model="m")))
    if asks == "stream" and status == 200:  # no event stream at all; what is in it is no matter, but E14 has a status
        assert classify(error) in {Failure.BAD_REPLY, expected[1]}
    else:
        is_as(error, expected)


@pytest.mark.parametrize(("named", "has_begun"), [(True, True), (False, False)], ids=["event, late", "data, at once"])
@pytest.mark.parametrize(("body", "expected"), IN_STREAMS.values(), ids=IN_STREAMS)
def test_an_error_in_a_stream(mode, make, server, lmstudio_at, body, expected, named, has_begun):  # noqa: PLR0917
    tokens = [server.chunk("he")] if has_begun else []
    error = server.sse(body).decode().strip()
    server.answers(server.event_stream(*tokens, f"event: error\n{error}" if named else error))
    is_as(raised_by(lambda: mode.stream(lmstudio_at(), make.ask(model="m"))), expected)


BARE = {
    "a message only": '{"message": "Compute error."}',
    "a JSON text": '"Compute error."',
    "a text": "Compute error.",
    "a string error": '{"error": "Compute error."}',
}


@pytest.mark.parametrize("data", BARE.values(), ids=BARE)
def test_an_error_event_in_every_shape(mode, make, server, lmstudio_at, data):
    server.answers(server.event_stream(server.chunk("he"), f"event: error\nid: 7\ndata: {data}"))
    is_as(raised_by(lambda: mode.stream(lmstudio_at(), make.ask(model="m"))), CRASH)


def test_an_event_of_another_name_is_no_error(mode, make, server, lmstudio_at):
    frames = ["event: message\n" + server.sse(server.chunk("hi")).decode().strip(), server.chunk(finish="stop")]
    server.answers(server.event_stream("event: error", *frames))
    assert make.text(mode.stream(lmstudio_at(), make.ask(model="m"))) == "hi"


def test_a_page_is_told_by_its_words(mode, make, server, lmstudio_at):
    server.answers(server.http(PAGE, "500 Internal Server Error", "text/html"))
    error = raised_by(lambda: mode.complete(lmstudio_at(), make.ask(model="m")))
    assert "Internal Server Error" in error.message
    assert "<" not in error.message


def test_a_validators_list_says_where(mode, make, server, lmstudio_at):
    server.answers(server.http(NO_TYPE, "400 Bad Request"))
    error = raised_by(lambda: mode.complete(lmstudio_at(), make.ask(model="m")))
    assert "0.type: Invalid discriminator value." in error.message


VARIABLES = SecretRef(SecretSource.ENV, ("LM_API_TOKEN", "LMSTUDIO_API_TOKEN"), optional=True)
TOKEN_ADVICE = {
    "none configured": (401, None, ["put it into LM_API_TOKEN", "providers.a.auth_token", "Manage Tokens"]),
    "variables": (401, VARIABLES, ["check env LM_API_TOKEN or LMSTUDIO_API_TOKEN", "providers.a.auth_token"]),
    "forbidden": (403, VARIABLES, ["lacks the permission", "env LM_API_TOKEN", "Manage Tokens"]),
}


@pytest.mark.parametrize(("status", "auth_token", "words"), TOKEN_ADVICE.values(), ids=TOKEN_ADVICE)
def test_a_refused_token_says_which_variable(mode, make, server, lmstudio_at, status, auth_token, words):  # noqa: PLR0917
    server.answers(server.http(told(NO_TOKEN, code="invalid_api_key"), f"{status} X"))
    error = raised_by(lambda: mode.complete(lmstudio_at(auth_token=auth_token), make.ask(model="m")))
    for word in [*words, "An LM Studio API token is required"]:
        assert word in error.message
    assert isinstance(error, lm15.AuthError)


def test_of_a_malformed_token_nothing_is_quoted(mode, make, server, lmstudio_at):
    server.answers(server.http(told(MALFORMED_TOKEN, code="invalid_api_key"), "401 Unauthorized"))
    error = raised_by(lambda: mode.complete(lmstudio_at(), make.ask(model="m")))
    cause = error.__cause__ or error
    assert "abcdefghij" not in f"{error} {cause}"
    assert "Malformed LM Studio API token" in error.message


def test_other_servers_get_no_advice_of_lm_studio(mode, make, server):
    server.answers(server.http({"error": "no"}, "401 Unauthorized"))
    error = raised_by(lambda: mode.complete(mode.provider(server.profile()), make.ask(model="m")))
    assert "LM Studio" not in error.message
