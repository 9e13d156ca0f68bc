"""A request is changed no more than its provider needs, and every change is said."""

from dataclasses import fields, replace

import pytest
from dspy import lm15
from hypothesis import assume, given
from hypothesis import strategies as st

from lmroute.engine.shaping import fit
from lmroute.model import Capabilities, JsonMode

SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
WITH_SCHEMA = {"type": "json_schema", "name": "n", "schema": SCHEMA}
ANY_OBJECT = {"type": "json_object"}
LOOSE = {"type": "json_schema", "name": "object", "schema": {"type": "object"}}
ONE_OBJECT = "Answer with one JSON object and nothing else."
THE_SCHEMA = (
    f'{ONE_OBJECT} It must match this JSON Schema: {{"type": "object", "properties": {{"x": {{"type": "integer"}}}}}}'
)

COMBINATIONS = {
    (None, JsonMode.JSON_SCHEMA): (None, "", None),
    (None, JsonMode.JSON_OBJECT): (None, "", None),
    (None, JsonMode.NONE): (None, "", None),
    ("schema", JsonMode.JSON_SCHEMA): (WITH_SCHEMA, "", None),
    ("schema", JsonMode.JSON_OBJECT): (ANY_OBJECT, "json_schema sent as json_object, schema in the prompt", THE_SCHEMA),
    ("schema", JsonMode.NONE): (None, "json_schema not sent, asked for in the prompt", THE_SCHEMA),
    ("object", JsonMode.JSON_SCHEMA): (LOOSE, "json_object sent as json_schema", None),
    ("object", JsonMode.JSON_OBJECT): (ANY_OBJECT, "", None),
    ("object", JsonMode.NONE): (None, "json_object not sent, asked for in the prompt", ONE_OBJECT),
}
FORMATS = {None: None, "schema": WITH_SCHEMA, "object": ANY_OBJECT}


@pytest.mark.parametrize(("case", "expected"), COMBINATIONS.items(), ids=[f"{f}-{m}" for f, m in COMBINATIONS])
def test_structured_output(make, case, expected):
    (wanted, mode), (sent, said, instruction) = case, expected
    request = make.ask(response_format=FORMATS[wanted])
    fitted, degraded = fit(request, make.profile(capabilities=Capabilities(json_mode=mode)))
    assert fitted.config.response_format == sent
    assert degraded == ((said,) if said else ())
    assert fitted.system == instruction
    assert replace(fitted, config=request.config, system=None) == request


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (None, ONE_OBJECT),
        ("be brief", f"be brief\n\n{ONE_OBJECT}"),
        ((lm15.TextPart("be brief"),), (lm15.TextPart("be brief"), lm15.TextPart(ONE_OBJECT))),
    ],
    ids=["none", "text", "parts"],
)
def test_an_instruction_comes_after_what_the_system_prompt_says(make, system, expected):
    request = make.ask(system=system, response_format=ANY_OBJECT)
    fitted, _ = fit(request, make.profile(capabilities=Capabilities(json_mode=JsonMode.NONE)))
    assert fitted.system == expected


def params(make, type_="vllm", **given):
    return make.profile(type=type_, params=tuple(given.items()))


def test_params_are_defaults_and_the_callers_own_wins(make):
    profile = params(make, temperature=0.2, top_p=0.9, stop=("END",), min_p=0.1, seed=1)
    fitted, degraded = fit(make.ask(temperature=0.0, stop=("STOP",), extensions={"min_p": 0.5}), profile)
    config = fitted.config
    assert (config.temperature, config.top_p, config.seed, config.stop) == (0.0, 0.9, 1, ("STOP",))
    assert config.extensions == {"min_p": 0.5}
    assert degraded == ()


def test_a_stop_that_the_caller_leaves_open_is_the_profiles(make):
    assert fit(make.ask(), params(make, stop=("END",)))[0].config.stop == ("END",)
    assert fit(make.ask(), params(make, stop="END"))[0].config.stop == ("END",)


LOCAL = ["lmstudio", "embedded", "llamacpp", "ollama", "vllm", "sglang", "openai_compatible", "openrouter"]


@pytest.mark.parametrize("type_", LOCAL)
def test_top_k_reaches_servers_of_openais_dialect_though_it_has_no_such_field(make, type_):
    fitted, _ = fit(make.ask(), params(make, type_, top_k=40))
    assert (fitted.config.top_k, fitted.config.extensions) == (None, {"top_k": 40})
    fitted, _ = fit(make.ask(top_k=5), params(make, type_, top_k=40))
    assert (fitted.config.top_k, fitted.config.extensions) == (None, {"top_k": 5})


@pytest.mark.parametrize("type_", ["anthropic", "gemini", "litellm", "openai"])
def test_top_k_stays_a_field_where_the_dialect_has_it_or_refuses_it(make, type_):
    fitted, _ = fit(make.ask(), params(make, type_, top_k=40))
    assert (fitted.config.top_k, fitted.config.extensions) == (40, None)


@pytest.mark.parametrize("wrong", [{"temperature": 3}, {"max_tokens": 0}, {"seed": "x"}, {"top_p": "y"}])
def test_params_that_no_model_takes_name_their_place(make, wrong):
    with pytest.raises(lm15.ConfigurationError, match=r"providers\.a\.params: \w+ must be"):
        fit(make.ask(), params(make, **wrong))


def test_hints_for_the_router_stay_here(make):
    request = make.ask(extensions={"metadata": {"route": "fast"}, "logit_bias": {"1": 2}})
    assert fit(request, make.profile())[0].config.extensions == {"logit_bias": {"1": 2}}
    assert fit(make.ask(extensions={"metadata": {"route": "fast"}}), make.profile())[0].config.extensions is None


def test_nothing_to_change_is_the_very_request(make):
    request = make.ask(system="be brief", temperature=0.5, response_format=WITH_SCHEMA)
    assert fit(request, make.profile()) == (request, ())
    assert fit(request, make.profile())[0] is request


def test_what_the_server_sees(mode, make, server):
    server.answers(server.http(server.chat()))
    profile = replace(
        server.profile(type="lmstudio"),
        params=(("top_k", 40), ("min_p", 0.1), ("temperature", 0.2), ("stop", ("END",))),
    )
    engine = mode.router(make.stack(profile), {"a": mode.provider(profile)})
    mode.complete(engine, make.ask(temperature=0.0, extensions={"metadata": {"x": 1}}))
    sent = server.received[0].json
    assert {name: sent[name] for name in ("top_k", "min_p", "temperature", "stop")} == {
        "top_k": 40,
        "min_p": 0.1,
        "temperature": 0.0,
        "stop": ["END"],
    }
    assert "metadata" not in sent


NUMBERS = {
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(1, 99),
    "seed": st.integers(0, 99),
    "max_tokens": st.integers(1, 99),
    "stop": st.lists(st.text(min_size=1), min_size=1, max_size=2).map(tuple),
    "frequency_penalty": st.floats(-2, 2),
    "presence_penalty": st.floats(-2, 2),
}
SAMPLERS = st.fixed_dictionaries({}, optional=NUMBERS)
OTHERS = st.dictionaries(st.sampled_from(["min_p", "repeat_penalty", "metadata", "ttl"]), st.integers(), max_size=3)


@given(
    asked=SAMPLERS,
    extensions=OTHERS,
    wanted=st.sampled_from([None, "schema", "object"]),
    given_=SAMPLERS,
    more=OTHERS,
    json_mode=st.sampled_from(JsonMode),
    type_=st.sampled_from(["lmstudio", "openai", "anthropic"]),
)
def test_nothing_else_changes(make, asked, extensions, wanted, given_, more, json_mode, type_):  # noqa: PLR0917
    assume("metadata" not in more)  # a profile has no hints for the router
    request = make.ask(**asked, extensions=extensions or None, response_format=FORMATS[wanted])
    profile = make.profile(
        type=type_, params=tuple({**given_, **more}.items()), capabilities=Capabilities(json_mode=json_mode)
    )
    fitted, degraded = fit(request, profile)
    assert (fitted.messages, fitted.model, fitted.tools) == (request.messages, request.model, request.tools)
    sent = {f.name: getattr(fitted.config, f.name) for f in fields(fitted.config)}
    wire = {**more, **{k: v for k, v in extensions.items() if k != "metadata"}}
    samplers = {**given_, **asked}
    if type_ == "lmstudio" and "top_k" in samplers:
        wire["top_k"] = samplers.pop("top_k")
    assert (sent.pop("extensions") or {}) == wire
    assert (sent.pop("response_format") == FORMATS[wanted]) == (not degraded)
    untouched = {f.name: f.default for f in fields(lm15.Config) if f.name in sent}
    assert sent == {**untouched, **samplers}
    assert fit(fitted, replace(profile, params=()))[0].config == fitted.config or degraded
