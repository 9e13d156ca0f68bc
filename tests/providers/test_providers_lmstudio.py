"""What LM Studio calls its models, and what its refusals mean."""

import itertools
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import Failure
from lmroute.providers.lmstudio import is_same_model, meaning_of

KEYS = st.text(string.ascii_letters + string.digits + "-._/", min_size=1).filter(lambda key: key.strip("/"))
SUFFIXES = st.sampled_from(["", "@q4_k_m", "@MXFP4", ":2", ":17", "@4bit:3"])


@given(KEYS, SUFFIXES, st.booleans())
def test_a_model_is_itself_in_any_case_copy_and_quantization(key, suffix, shouted):
    assert is_same_model(key + suffix, (key.upper() if shouted else key) + suffix)
    assert is_same_model(key + suffix, key)
    assert is_same_model(key, key + suffix)


@given(KEYS, KEYS, SUFFIXES, SUFFIXES)
def test_another_key_is_another_model(key, other, one, two):
    assert key.lower() == other.lower() or not is_same_model(key + one, other + two)


def test_models_that_are_not_the_same():
    for one, other in itertools.permutations(
        ["qwen/qwen3-8b", "qwen/qwen3-4b", "qwen3-8b", "llama:8b", "llama:70b", "team:1", "team:2", "q@4bit", "q@8bit"],
        2,
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
    "E15": ("'response_format.type' must be 'json_schema' or 'text'", Failure.INVALID_REQUEST),
    "E16": (
        "Invalid tool_choice type: 'object'. Supported string values: none, auto, required",
        Failure.INVALID_REQUEST,
    ),
    "E17": ("'messages' field is required", Failure.INVALID_REQUEST),
    "E18": ("An LM Studio API token is required to make requests to this server", Failure.AUTH),
    "E19": ("Compute error.", GONE),
    "unknown key": ("Unrecognized key(s) in object: 'ttl'", Failure.INVALID_REQUEST),
}


@pytest.mark.parametrize(("message", "failure"), WORDINGS.values(), ids=WORDINGS)
def test_what_a_refusal_means(message, failure):
    assert meaning_of(message) is failure
    assert meaning_of(f"HTTP 400: {message.upper()}") is failure


@pytest.mark.parametrize(
    "message",
    [
        "",
        "<pre>Internal Server Error</pre>",
        "_0x48eeaf is not iterable",
        "rate limit exceeded",
        "the context of this conversation was loaded",
    ],
)
def test_other_refusals_mean_what_their_status_says(message):
    assert meaning_of(message) is None
