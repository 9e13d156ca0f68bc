"""Whatever address people paste, requests go to the one that was meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import Profile
from lmroute.providers.catalog import TYPES, Dialect, base_url, server_root

LOCAL_TYPES = sorted(name for name, row in TYPES.items() if row.endpoint is None and row.dialect is Dialect.OPENAI_CHAT)
PLAIN_V1 = sorted(name for name in LOCAL_TYPES if not TYPES[name].other_paths)

hosts = st.sampled_from(
    ["localhost:1234", "127.0.0.1:1234", "[::1]:1234", "[fd00::5]", "mini.local:8080", "llm.example.com", "Box-1:80"]
)
prefixes = st.sampled_from(["", "/lm", "/team/a", "/models", "/openai", "/v2", "/api/v1beta2", "/x.y_z"])
calls = st.sampled_from(["", "/models", "/chat/completions", "/completions", "/responses", "/messages", "/embeddings"])
slashes = st.sampled_from(["", "/", "//"])
ends = st.sampled_from(["", "?x=1", "#top", " ", "\n"])


def plain(scheme, host, prefix):
    return f"{scheme}://{host}{prefix}"


def base(type_, endpoint):
    return base_url(Profile("p", type_, endpoint=endpoint))


@given(st.data())
def test_every_pasted_form_leads_to_the_same_address(data):
    type_ = data.draw(st.sampled_from(LOCAL_TYPES))
    scheme, host, prefix = data.draw(st.sampled_from(["http", "https"])), data.draw(hosts), data.draw(prefixes)
    row = TYPES[type_]
    root = data.draw(st.sampled_from(["", row.path, *row.other_paths, *row.calls]))
    call = data.draw(calls) if root and root not in row.calls else ""
    typed = data.draw(st.sampled_from([scheme, scheme.upper(), scheme.title()]))
    pasted = f" {typed}://{host}{prefix}{data.draw(slashes)}{root}{call}{data.draw(slashes)}{data.draw(ends)}"
    assert base(type_, pasted) == f"{plain(scheme, host, prefix)}/v1"


@given(st.data())
def test_taking_off_twice_is_taking_off_once(data):
    row = TYPES[data.draw(st.sampled_from(sorted(TYPES)))]
    path = data.draw(st.lists(st.sampled_from(["v1", "api", "models", "", "v1beta", "chat", "completions", "x"])))
    once = server_root(f"HTTP://[::1]:1/{'/'.join(path)}", row)
    assert server_root(once, row) == once
    assert not once.endswith(("/", "/v1"))


@pytest.mark.parametrize("type_", PLAIN_V1)
def test_a_prefix_that_looks_like_lm_studios_api_stays_elsewhere(type_):
    """Services exist whose OpenAI API is at /api/v1."""
    assert base(type_, "https://llm.example.com/api/v1/") == "https://llm.example.com/api/v1"
    assert base(type_, "https://llm.example.com/api") == "https://llm.example.com/api/v1"


@pytest.mark.parametrize(
    "pasted", ["", "/v1", "/api/v1", "/api/v0", "/api/v1/models", "/v1/chat/completions", "/v1/v1"]
)
def test_lm_studio_has_three_apis_and_one_address(pasted):
    assert base("lmstudio", f"http://localhost:1234{pasted}") == "http://localhost:1234/v1"


@pytest.mark.parametrize(
    ("type_", "pasted"),
    [
        ("ollama", "/api"),
        ("ollama", "/api/chat"),
        ("ollama", "/api/generate/"),
        ("ollama", "/api/tags?x=1"),
        ("ollama", "/v1/chat/completions"),
        ("llamacpp", "/completion"),
        ("llamacpp", "/props"),
        ("llamacpp", "/#/chat/3"),
        ("vllm", "/docs"),
        ("sglang", "/get_model_info"),
    ],
)
def test_a_server_s_own_paths_are_taken_off(type_, pasted):
    assert base(type_, f"http://den.local:9{pasted}") == "http://den.local:9/v1"


@pytest.mark.parametrize("pasted", ["/api", "/props", "/docs", "/generate"])
def test_what_is_no_path_of_this_type_is_a_prefix(pasted):
    assert base("openai_compatible", f"http://den.local:9{pasted}") == f"http://den.local:9{pasted}/v1"


@pytest.mark.parametrize("pasted", ["", "/", "/api/v1", "/api/v1/chat/completions", "/v1"])
def test_openrouter(pasted):
    assert base("openrouter", f"https://openrouter.ai{pasted}") == "https://openrouter.ai/api/v1"


@pytest.mark.parametrize(
    ("type_", "address"),
    [
        ("openai", "https://api.openai.com/v1"),
        ("openrouter", "https://openrouter.ai/api/v1"),
        ("anthropic", "https://api.anthropic.com/v1"),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta"),
    ],
)
def test_services_need_no_endpoint(type_, address):
    assert base(type_, None) == address


def test_a_call_without_api_path_is_taken_off_too():
    assert base("openai_compatible", "https://llm.example.com/chat/completions") == "https://llm.example.com/v1"


def test_an_address_that_only_the_run_knows_comes_first():
    profile = Profile("e", "embedded")
    assert base_url(profile, "http://127.0.0.1:40123") == "http://127.0.0.1:40123/v1"


def test_no_address_at_all_names_the_provider():
    with pytest.raises(ValueError, match="provider 'p' of type 'vllm' has no endpoint"):
        base("vllm", None)


def test_every_row_is_usable():
    for name, row in TYPES.items():
        assert row.path.startswith("/"), name
        assert not row.path.endswith("/"), name
        if row.endpoint is not None:
            assert server_root(row.endpoint, row) == row.endpoint, name
