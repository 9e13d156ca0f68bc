"""Every error of lm15 has a failure, a public DSPy error and, when all attempts failed, one error that names them."""

import dspy
import pytest
from dspy import lm15
from dspy.clients.errors import wrap_error
from dspy.utils.exceptions import ContextWindowExceededError, LMError, LMUnexpectedError
from hypothesis import given
from hypothesis import strategies as st

from lmroute import redact
from lmroute.engine.verdicts import (
    _CLASSES,
    GuaranteeError,
    ModelSubstitutedError,
    NotReadyError,
    classify,
    exhausted,
    one_line,
    rebuilt,
    refine,
)
from lmroute.model import FALLBACK, Attempt, Candidate, Failure


def family(kind):
    return [kind, *(member for child in kind.__subclasses__() for member in family(child))]


EVERY_ERROR = sorted(set(family(lm15.LM15Error)), key=lambda kind: kind.__name__)
FAILURES = {
    lm15.TransportError: Failure.TRANSPORT,
    lm15.LockTimeoutError: Failure.TRANSPORT,
    lm15.TimeoutError: Failure.TIMEOUT,
    lm15.RateLimitError: Failure.RATE_LIMIT,
    lm15.ServerError: Failure.SERVER,
    lm15.ProviderError: Failure.BAD_REPLY,
    lm15.StreamAssemblyError: Failure.BAD_REPLY,
    lm15.AuthError: Failure.AUTH,
    lm15.BillingError: Failure.BILLING,
    lm15.NotConfiguredError: Failure.NOT_CONFIGURED,
    lm15.ConfigurationError: Failure.NOT_CONFIGURED,
    lm15.UnknownModelError: Failure.NOT_CONFIGURED,
    lm15.UnsupportedModelError: Failure.UNSUPPORTED_MODEL,
    lm15.UnsupportedFeatureError: Failure.UNSUPPORTED_FEATURE,
    lm15.ContextLengthError: Failure.CONTEXT_LENGTH,
    lm15.InvalidRequestError: Failure.INVALID_REQUEST,
    ModelSubstitutedError: Failure.MODEL_SUBSTITUTED,
    NotReadyError: Failure.UNAVAILABLE,
    GuaranteeError: Failure.GUARANTEE,
}


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_every_error_of_lm15_is_classified_and_public(kind):
    error = kind("it broke")
    assert classify(error) in Failure
    public = wrap_error(error, model="lmroute/x")
    assert isinstance(public, LMError)
    # lm15's root is the one class that DSPy knows no public error for.
    assert type(public) is not LMUnexpectedError or kind is lm15.LM15Error


@pytest.mark.parametrize(("kind", "failure"), FAILURES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_what_each_class_means(kind, failure):
    assert classify(kind("it broke")) is failure


def test_all_of_the_vocabulary_is_used():
    assert set(FAILURES.values()) == set(Failure)


def test_only_malformed_requests_do_not_fall_back():
    assert set(Failure) - FALLBACK == {Failure.INVALID_REQUEST, Failure.GUARANTEE}


WORDINGS = [
    (
        "The number of tokens to keep from the initial prompt is greater than the context length.",
        Failure.CONTEXT_LENGTH,
    ),
    ("Trying to keep the first 5000 tokens when context the overflows.", Failure.CONTEXT_LENGTH),
    ("Input does not fit in context length. The input has 9 tokens, but", Failure.CONTEXT_LENGTH),
    ("the request exceeds the available context size, try increasing it", Failure.CONTEXT_LENGTH),
    ("Context size has been exceeded.", Failure.CONTEXT_LENGTH),
    ("No models loaded. Please load a model in the developer page", Failure.UNSUPPORTED_MODEL),
    ("Multiple models are loaded. Please specify a model", Failure.UNSUPPORTED_MODEL),
    ('Invalid model identifier "x". Please specify a valid downloaded model', Failure.UNSUPPORTED_MODEL),
    ('Model "x" not found. Please specify a valid model.', Failure.UNSUPPORTED_MODEL),
    ("Failed to load model 'x'. Error: insufficient memory", Failure.UNAVAILABLE),
    ("Unexpected endpoint or method. (POST /chat/completions)", Failure.BAD_REPLY),
    ("The model has crashed without additional information. (Exit code: null)", Failure.SERVER),
    ("Model unloaded.", Failure.SERVER),
    ("Compute error.", Failure.SERVER),
]


@pytest.mark.parametrize("kind", [lm15.InvalidRequestError, lm15.ServerError, lm15.ProviderError])
@pytest.mark.parametrize(("text", "failure"), WORDINGS, ids=[text[:25] for text, _ in WORDINGS])
def test_local_servers_mean_what_they_say_whatever_the_status(kind, text, failure):
    error = kind(text, provider="lmstudio", provider_code="c", status=400, request_id="r", retry_after=2)
    refined = refine(error)
    assert classify(refined) is failure
    assert text in refined.message
    for told in ("provider", "provider_code", "status", "request_id", "retry_after"):
        assert getattr(refined, told) == getattr(error, told)
    assert refined is error or refined.__cause__ is error


@pytest.mark.parametrize("error", [lm15.InvalidRequestError("temperature must be a number"), lm15.ServerError("oops")])
def test_what_says_nothing_stays_what_it_is(error):
    assert refine(error) is error


def test_a_class_that_is_clear_is_not_second_guessed():
    error = lm15.RateLimitError("no models loaded")
    assert refine(error) is error


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_has_a_class_that_stands_for_it(failure):
    assert classify(_CLASSES[failure]("x")) is failure


def attempts(*errors):
    return [
        Attempt(Candidate(f"p{i}", "m"), 1.0, failure=classify(error), message=one_line(error))
        for i, error in enumerate(errors)
    ]


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_an_exhausted_call_has_the_class_of_its_last_error(kind):
    errors = [lm15.RateLimitError("busy"), kind("the last")]
    error = exhausted(attempts(*errors), errors)
    assert classify(error) is classify(errors[-1])
    assert type(wrap_error(error, model="m")) is not LMUnexpectedError
    assert "p0/m: rate_limit (busy)" in error.message
    assert "p1/m: " in error.message
    assert error.__cause__ is errors[-1]


def test_a_context_overflow_wins():
    errors = [lm15.ContextLengthError("too long"), lm15.TransportError("gone")]
    error = exhausted(attempts(*errors), errors)
    assert isinstance(wrap_error(error, model="m"), ContextWindowExceededError)
    assert "transport (gone)" in error.message


def test_rebuilt_keeps_the_retry_hint_for_the_caller():
    error = rebuilt(lm15.RateLimitError("busy", retry_after=7, status=429), lm15.ServerError, "gone")
    assert (error.retry_after, error.status, error.message) == (7.0, 429, "gone")


def test_one_line_leaves_out_how_to_fix_it():
    assert one_line(lm15.ContextLengthError("too long")) == "too long"
    assert one_line(lm15.AuthError("no", provider="x")) == "no"
    assert one_line(dspy.utils.exceptions.LMServerError(message="oops")) == "oops"
    assert one_line(KeyError()) == "KeyError"


def test_one_line_is_redacted_before_it_is_cut():
    redact.remember("a-secret-of-mine")
    text = one_line(lm15.ServerError("x" * 290 + " a-secret-of-mine"))
    assert text == "x" * 290 + " ***"
    assert one_line(lm15.AuthError("Incorrect API key: sk-abcdefgh12345678")) == "Incorrect API key: ***"


@given(st.text())
def test_one_line_is_one_line(text):
    line = one_line(ValueError(text))
    assert len(line.splitlines()) == 1
    assert 0 < len(line) <= 300


@pytest.mark.parametrize(("status", "failure"), [(404, Failure.BAD_REPLY), (409, Failure.SERVER)])
def test_a_place_that_is_wrong_or_busy_is_no_bad_request(status, failure):
    error = lm15.InvalidRequestError("Cannot POST /v1/chat/completions", status=status)
    refined = refine(error)
    assert (classify(refined), refined.status, refined.__cause__) == (failure, status, error)


def test_a_request_that_is_called_bad_is_one():
    error = lm15.InvalidRequestError("messages must not be empty", status=400)
    assert refine(error) is error
