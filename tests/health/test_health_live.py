"""What ``lmroute validate --live`` finds: which code, how bad, where, and what it means for the rules."""

import socket
from dataclasses import replace

import pytest

from lmroute.config.compose import compose
from lmroute.config.decode import decode
from lmroute.diagnostics import Location, Severity
from lmroute.emulator.catalog import Model as Disk
from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings, Token
from lmroute.health.live import check, to_probe, verdicts
from lmroute.model import (
    AUTO,
    Capabilities,
    Locality,
    Named,
    Policy,
    Profile,
    Rule,
    Secret,
    SecretRef,
    SecretSource,
    Stack,
    TaskSpec,
)
from lmroute.providers.inventory import Api, Inventory
from lmroute.providers.probe import ErrorCode, ListedModel, Outcome, Phase, ProbeResult, State
from lmroute.providers.probe.faults import KINDS
from lmroute.validate.table import RULES

LISTED = tuple(Phase(name, 1.0, Outcome.OK) for name in ("dns", "connect", "auth", "list", "model"))


def stack(rules, **profiles):
    """A stack of ``name=fields`` profiles and of ``rule: "provider other/model"``."""
    providers = {
        name: Profile(**{"id": name, "type": "openai_compatible"} | fields) for name, fields in profiles.items()
    }
    policy = Policy("p", tuple(Rule(name, tuple(map(named, use.split()))) for name, use in rules.items()))
    return Stack(providers, policy, TaskSpec("ask"))


def named(candidate):
    provider, _, model = candidate.partition("/")
    return Named(provider, model or None)


def healthy(provider, *models):
    listed = tuple(model if isinstance(model, ListedModel) else ListedModel(model) for model in models or ("m",))
    return ProbeResult(provider, State.HEALTHY, phases=LISTED, inventory=Inventory(Api.PLAIN, listed), tries=1)


def sick(provider, code=ErrorCode.CONNECTION_REFUSED, state=None):
    return ProbeResult(provider, state or KINDS[code].state, code, "it is so", "do this", tries=1)


def lacking(provider, *missing, models=()):
    listed = tuple(map(ListedModel, models))
    state = State.DEGRADED if models else State.MISCONFIGURED
    code = ErrorCode.MODEL_NOT_FOUND if models else ErrorCode.NO_MODELS
    return ProbeResult(
        provider, state, code, "not all there", "load it", LISTED, 1.0, Inventory(Api.PLAIN, listed), missing, 1
    )


def locate(path, *, key=False):
    return Location("/".join(path))


def found(ours, *results):
    return list(check(ours, locate, {result.provider: result for result in results}))


def summary(diagnostics):
    return [(d.code, d.severity.value, d.key) for d in diagnostics]


def test_all_is_well():
    ours = stack({"only": "a b"}, a={}, b={})
    assert found(ours, healthy("a"), healthy("b")) == []


def test_the_last_one_down_is_an_error_that_names_the_rule():
    ours = stack({"private": "a", "any": "a b"}, a={"endpoint": "http://a"}, b={"endpoint": "http://b"})
    (finding,) = found(ours, sick("a"), healthy("b"))
    assert summary([finding]) == [("LMR501", "error", "providers.a.endpoint")]
    assert finding.message == "it is so; rule 'private' has no candidate that serves"
    assert finding.help == "do this"
    assert finding.location == Location("providers/a/endpoint")


def test_one_of_two_down_is_a_warning_that_says_who_serves():
    ours = stack({"one": "a b", "two": "b a", "three": "c a"}, a={}, b={}, c={})
    (finding,) = found(ours, sick("a"), healthy("b"), healthy("c"))
    assert summary([finding]) == [("LMR501", "warning", "providers.a")]
    assert finding.message == "it is so; rules 'one', 'two' are served by b/auto; rule 'three' is served by c/auto"


def test_two_that_leave_a_rule_together_are_both_errors():
    ours = stack({"one": "a b", "two": "c"}, a={}, b={}, c={})
    findings = found(ours, sick("a"), sick("b", ErrorCode.TOKEN_REFUSED), healthy("c"))
    assert [(f.code, f.severity) for f in findings] == [("LMR501", Severity.ERROR), ("LMR502", Severity.ERROR)]


def test_several_rules_without_anybody():
    (finding,) = found(stack({"one": "a", "two": "a"}, a={}), sick("a"))
    assert finding.message.endswith("; rules 'one', 'two' have no candidate that serves")


def test_one_that_cannot_be_asked_may_serve_and_is_no_finding():
    ours = stack({"one": "a lite"}, a={}, lite={"type": "litellm"})
    unknown = ProbeResult("lite", State.UNKNOWN, ErrorCode.NO_LIST, "not asked")
    (finding,) = found(ours, sick("a"), unknown)
    assert finding.severity is Severity.WARNING
    assert finding.message.endswith("served by lite/auto")
    assert found(stack({"one": "lite"}, lite={"type": "litellm"}), unknown) == []


def test_who_is_disabled_does_not_serve_and_is_not_asked():
    ours = stack({"one": "a b"}, a={}, b={"enabled": False}, c={})
    assert [profile.id for profile in to_probe(ours)] == ["a"]
    (finding,) = found(ours, sick("a"), healthy("b"))
    assert finding.severity is Severity.ERROR


def test_who_no_rule_reaches_is_no_finding():
    ours = stack({"one": "a"}, a={}, b={})
    assert found(ours, healthy("a"), sick("b")) == []


@pytest.mark.parametrize(
    "code", [code for code in ErrorCode if code not in {"no_list", "model_not_found", "no_models"}]
)
def test_every_fault_has_a_code_and_a_place(code):
    ours = stack({"one": "a"}, a={"endpoint": "http://a", "auth_token": SecretRef(SecretSource.ENV, ("X",))})
    (finding,) = found(ours, sick("a", code))
    assert RULES[finding.code].of_server
    assert finding.key.startswith("providers.a")
    assert finding.severity is (Severity.WARNING if KINDS[code].state is State.DEGRADED else Severity.ERROR)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (ErrorCode.TIMEOUT, ("LMR501", "error", "providers.a.endpoint")),
        (ErrorCode.TOKEN_MISSING, ("LMR502", "error", "providers.a.auth_token")),
        (ErrorCode.NOT_JSON, ("LMR506", "error", "providers.a.endpoint")),
        (ErrorCode.ADDRESS_REFUSED, ("LMR506", "error", "providers.a.locality")),
        (ErrorCode.WRONG_TYPE, ("LMR506", "warning", "providers.a.type")),
        (ErrorCode.WEIGHTS_UNUSABLE, ("LMR506", "error", "providers.a.model_path")),
        (ErrorCode.WEIGHTS_MISSING, ("LMR507", "warning", "providers.a.endpoint")),
        (ErrorCode.RATE_LIMITED, ("LMR507", "error", "providers.a.endpoint")),
        (ErrorCode.MODEL_LOADING, ("LMR507", "warning", "providers.a.endpoint")),
    ],
)
def test_which_code_and_where(code, expected):
    fields = {"endpoint": "http://a", "auth_token": SecretRef(SecretSource.ENV, ("X",)), "model_path": "m.gguf"}
    assert summary(found(stack({"one": "a"}, a=fields), sick("a", code))) == [expected]


# Models


def test_a_model_that_is_not_there():
    ours = stack({"one": "a/x", "two": "a/y"}, a={"models": ("y", "x")})
    (finding,) = found(ours, lacking("a", "x", models=("y", "x-large")))
    assert summary([finding]) == [("LMR503", "error", "providers.a.models.1")]
    assert finding.message == "the server does not offer 'x'; rule 'one' has no candidate that serves"
    assert "did you mean 'x-large'?" in finding.help


def test_a_model_that_is_not_there_when_another_one_is():
    ours = stack({"one": "a"}, a={"models": ("x", "y")})
    (finding,) = found(ours, lacking("a", "x", models=("y",)))
    assert (finding.severity, finding.key) == (Severity.WARNING, "providers.a.models.0")
    assert finding.message.endswith("rule 'one' is served by a/y")


def test_a_model_that_no_rule_asks_for_may_be_missing():
    ours = stack({"one": "a/y"}, a={"models": ("x", "y")})
    assert found(ours, lacking("a", "x", models=("y",))) == []


def test_a_server_without_models():
    (finding,) = found(stack({"one": "a"}, a={}), lacking("a", AUTO))
    assert summary([finding]) == [("LMR503", "error", "providers.a.models.0")]
    assert finding.message.startswith("the server offers no chat model")
    assert finding.help == "load it"


def test_a_model_that_only_the_rule_names():
    """References are another room's business; here the model is on the server or it is not."""
    ours = stack({"one": "a/z"}, a={"models": ("y",)})
    (finding,) = found(ours, healthy("a", "y"))
    assert summary([finding]) == [("LMR503", "error", "providers.a.models")]


# Promises


@pytest.mark.parametrize(
    ("declared", "told", "expected"),
    [
        (8192, {"context_window": 4096, "max_context_window": 32768}, "is loaded with 4096"),
        (65536, {"max_context_window": 32768}, "takes at most 32768"),
        (4096, {"context_window": 4096}, ""),
        (4096, {"context_window": 8192}, ""),
        (8192, {}, ""),
        (None, {"context_window": 1}, ""),
    ],
)
def test_a_window_that_is_promised(declared, told, expected):
    ours = stack({"one": "a"}, a={"context_window": declared})
    findings = found(ours, healthy("a", ListedModel("m", **told)))
    assert [f.message for f in findings] == (
        [f"the profile says {declared} tokens, but 'm' {expected}"] if expected else []
    )
    assert summary(findings) == ([("LMR504", "warning", "providers.a.context_window")] if expected else [])


@pytest.mark.parametrize("name", ["tools", "vision"])
@pytest.mark.parametrize("told", [True, False, None])
@pytest.mark.parametrize("declared", [True, False])
def test_a_capability_that_is_promised(name, told, declared):
    ours = stack({"one": "a"}, a={"capabilities": Capabilities(**{name: declared})})
    findings = found(ours, healthy("a", ListedModel("m", **{name: told})))
    denied = declared and told is False
    assert summary(findings) == ([("LMR505", "warning", f"providers.a.capabilities.{name}")] if denied else [])


def test_a_promise_is_held_against_the_model_that_is_asked_for():
    """And once, however many rules and names lead to it."""
    ours = stack({"one": "a/auto", "two": "a/b", "three": "a/auto"}, a={"models": (AUTO, "b"), "context_window": 9})
    models = ListedModel("b", context_window=5), ListedModel("c", context_window=1)
    assert [f.code for f in found(ours, healthy("a", *models))] == ["LMR504"]


# Verdicts


def lines(ours, *results):
    return [str(verdict) for verdict in verdicts(ours, {result.provider: result for result in results})]


def test_a_line_a_rule():
    ours = stack({"one": "a b", "two": "a", "three": "b", "four": "c", "five": "a c"}, a={}, b={}, c={})
    assert lines(ours, sick("a"), healthy("b")) == [
        "p/one: 1 of 2 candidates up, degraded, still serves",
        "p/two: 0 of 1 candidates up, down",
        "p/three: 1 of 1 candidates up",
        "p/four: 0 of 1 candidates up, not checked",
        "p/five: 0 of 2 candidates up, not checked",
    ]


def test_a_rule_whose_candidates_are_all_disabled():
    assert lines(stack({"one": "a"}, a={"enabled": False})) == ["p/one: no enabled candidate, down"]


def test_rules_come_in_the_order_in_which_they_are_asked():
    ours = stack({"late": "a", "early": "a"}, a={})
    late, early = ours.policy.rules
    ours = replace(ours, policy=replace(ours.policy, rules=(late, replace(early, priority=1))))
    assert [verdict.rule for verdict in verdicts(ours, {})] == ["early", "late"]


def test_a_degraded_provider_serves():
    ours = stack({"one": "a"}, a={})
    (finding,) = found(ours, sick("a", ErrorCode.WEIGHTS_MISSING))
    assert finding.message == "it is so", "nobody else serves in its place"
    (verdict,) = verdicts(ours, {"a": sick("a", ErrorCode.WEIGHTS_MISSING)})
    assert (verdict.up, verdict.state, [str(c) for c in verdict.serving]) == (1, State.DEGRADED, ["a/auto"])


def test_of_a_provider_that_lacks_a_model_the_others_are_healthy():
    ours = stack({"one": "a/x", "two": "a/y"}, a={"models": ("x", "y")})
    one, two = verdicts(ours, {"a": lacking("a", "x", models=("y",))})
    assert (one.state, two.state) == (State.DOWN, State.HEALTHY)


# The whole way: our own conf, real servers, real places


def live(*overrides):
    composition = compose(overrides)
    ours = decode(composition.document)
    return list(check(ours, composition.locate))


@pytest.fixture
def nobody():
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def _no_tokens(monkeypatch):
    for name in ("LM_API_TOKEN", "LMSTUDIO_API_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_our_own_conf_with_a_server_that_is_down(nobody):
    override = f"providers.lmstudio.endpoint={nobody}"
    (finding,) = live("provider=lmstudio", override)
    assert summary([finding]) == [("LMR501", "error", "providers.lmstudio.endpoint")]
    assert finding.location.override == override
    assert "rules 'private', 'local' have no candidate that serves" in finding.message


def test_our_own_conf_with_a_server_that_is_up():
    with running(Settings(models=(Disk("test/small", context_length=2048),))) as emulator:
        place = f"providers.lmstudio.endpoint={emulator.url}"
        assert {f.code for f in live("provider=lmstudio", place)} <= {"LMR505"}
        findings = live("provider=lmstudio", place, "+providers.lmstudio.context_window=9000")
        assert "is loaded with 2048" in next(f for f in findings if f.code == "LMR504").message


def test_our_own_conf_without_a_key():
    (finding,) = live("provider=openai", "routing=cloud_first")
    assert summary([finding]) == [("LMR502", "error", "providers.openai.auth_token")]
    assert finding.location.file.endswith("openai.yaml")
    assert finding.location.line > 1


def test_a_token_that_is_refused_is_not_shown(monkeypatch):
    monkeypatch.setenv("LM_API_TOKEN", "sk-lm-zzzzzzzz:zzzzzzzzzzzzzzzzzzzz")
    token = Token(Secret("sk-lm-a1B2c3D4:abcdefghij0123456789"))
    with running(Settings(require_auth=True, tokens=(token,))) as emulator:
        (finding,) = live("provider=lmstudio", f"providers.lmstudio.endpoint={emulator.url}")
    assert summary([finding]) == [("LMR502", "error", "providers.lmstudio.auth_token")]
    assert "zzzz" not in str(finding)


def test_a_cloud_profile_is_never_dialled_without_its_key(monkeypatch):
    """The default profiles of services lead to the internet; a machine without keys must not call them."""

    def refuse(*_args, **_options):
        raise AssertionError("dialled")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert [f.code for f in live("provider=[openai,anthropic,gemini]", "routing=cloud_first")] == ["LMR502"] * 3
    assert Locality.CLOUD in {
        profile.locality for profile in decode(compose(["provider=openai"]).document).providers.values()
    }
