"""Our table against OpenTelemetry's own package, and what providers are called."""

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, server_attributes

from lmroute.model import Semconv
from lmroute.providers.catalog import TYPES
from lmroute.telemetry.otel import naming
from lmroute.telemetry.otel.conventions import ATTEMPT, CALL, CHAT, TOKEN_MODALITY, TOKEN_TYPE, WHO, chosen
from lmroute.telemetry.otel.metrics import METRICS
from lmroute.telemetry.otel.naming import provider_name


def constants(*modules):
    return {value for module in modules for name, value in vars(module).items() if name.isupper()}


KNOWN = constants(gen_ai_attributes, error_attributes, server_attributes)
PROVIDERS = {value.value for value in gen_ai_attributes.GenAiProviderNameValues}
OUR_OWN = {"lm_studio", "llama_cpp", "ollama", "vllm", "sglang", "openrouter", "openai_compatible", "litellm"}
NEWER = {"moonshot_ai"}
"""Known since the conventions have a repository of their own."""


def test_attributes_are_called_what_the_installed_package_calls_them():
    names = {row.name for row in (*CALL, *ATTEMPT, *WHO)} | {TOKEN_TYPE}
    theirs = {name for name in names if not name.startswith("lmroute.")}
    assert len(theirs) > 20
    assert theirs - KNOWN == set()


def test_metrics_are_called_what_the_installed_package_calls_them():
    names = {told.name for told in METRICS[Semconv.V1_41]}
    assert names - constants(gen_ai_metrics) == set()
    assert names.isdisjoint(told.name for told in METRICS[Semconv.NEXT])


def test_what_is_only_called_so_in_the_next_conventions():
    """When the package has caught up, this fails, and v1.41 may go the way of old things."""
    assert TOKEN_MODALITY not in KNOWN
    assert "gen_ai.client.inference.duration" not in constants(gen_ai_metrics)


def test_the_operation_and_the_kinds_of_tokens_are_known():
    assert CHAT in {value.value for value in gen_ai_attributes.GenAiOperationNameValues}
    kinds = {dict(told.extra)[TOKEN_TYPE] for told in METRICS[Semconv.V1_41] if told.extra}
    assert kinds == {"input", "output"} <= {value.value for value in gen_ai_attributes.GenAiTokenTypeValues}


@pytest.mark.parametrize("type_", sorted(TYPES))
def test_every_type_of_the_catalogue_has_a_provider_name(type_):
    assert provider_name(type_) in PROVIDERS | OUR_OWN


def test_whom_people_reach_by_other_ways_goes_by_the_known_names():
    known = PROVIDERS | OUR_OWN | NEWER
    assert set(naming._OF_LITELLM.values()) <= known
    assert set(naming._OF_HOST.values()) <= known


@pytest.mark.parametrize(
    ("asked_for", "name"),
    [
        (("lmstudio", "qwen3-8b", "127.0.0.1"), "lm_studio"),
        (("embedded", "auto", None), "llama_cpp"),
        (("gemini", "gemini-3", None), "gcp.gemini"),
        (("openai_compatible", "x", "api.groq.com"), "groq"),
        (("openai_compatible", "x", "10.0.0.4"), "openai_compatible"),
        (("litellm", "azure/gpt-4o", None), "azure.ai.openai"),
        (("litellm", "deepseek/deepseek-chat", None), "deepseek"),
        (("litellm", "gpt-4o", None), "litellm"),
        ((None, None, None), "lmroute"),
    ],
)
def test_provider_names(asked_for, name):
    assert provider_name(*asked_for) == name


@pytest.mark.parametrize(
    ("opted", "configured", "used"),
    [
        ("", "v1_41", "v1_41"),
        ("gen_ai_latest_experimental", "v1_41", "next"),
        ("http, gen_ai_latest_experimental", "v1_41", "next"),
        ("http", "v1_41", "v1_41"),
        ("gen_ai_latest_experimental", "both", "both"),
        ("", "next", "next"),
    ],
)
def test_opentelemetrys_own_variable_opts_in_where_nothing_else_is_configured(monkeypatch, opted, configured, used):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opted)
    assert chosen(Semconv(configured)) is Semconv(used)
