"""The shipped policies: each does what its name and its comments say, for every request and not for a sample."""

import pytest

from lmroute.config import paths
from lmroute.errors import ConfigError
from lmroute.model import AUTO, Attributes, Candidate, Locality, Order, Privacy, Selector
from lmroute.routing.decide import decide
from lmroute.routing.policy import compile_policy
from lmroute.routing.proofs.verify import verify
from lmroute.validate import check, load
from lmroute.validate.policy_tests.running import run

POLICIES = sorted(file.stem for file in (paths.shipped("conf") / "routing").glob("*.yaml"))
EVERYBODY = (
    "provider=[lmstudio,ollama,llamacpp,vllm,sglang,openai,anthropic,gemini,openrouter,litellm,openai_compatible,embedded]",
    "providers.openai_compatible.endpoint=http://127.0.0.1:9",
)
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "GROQ_API_KEY")
KEEPS_OUT_THE_CLOUD = {"local_only", "ab_test"}
HERE = {Locality.LOOPBACK, Locality.EMBEDDED}


@pytest.fixture
def keys(monkeypatch):
    for name in KEYS:
        monkeypatch.setenv(name, "a key")


def test_these_are_the_policies():
    assert set(POLICIES) == {
        "local_first",
        "local_only",
        "cloud_first",
        "cost_first",
        "private_local",
        "long_context",
        "by_signature",
        "ab_test",
    }


@pytest.mark.parametrize("name", POLICIES)
def test_it_explains_itself(name):
    lines = (paths.shipped("conf") / "routing" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    header = lines[1 : lines.index(f"name: {name}")]
    assert all(line.startswith("#") for line in header)
    assert 5 <= len(header) <= 15
    text = " ".join(header)
    assert text.index("# For ") < text.index("# Asked") < text.index("# Guaranteed: ")


@pytest.mark.parametrize("name", POLICIES)
def test_nothing_is_to_be_said_against_it(name, keys):
    assert check([f"routing={name}"]).warnings == ()
    told = check([f"routing={name}", *EVERYBODY]).warnings
    if name in KEEPS_OUT_THE_CLOUD:  # and says so of every cloud that was selected all the same
        assert {finding.code for finding in told} == {"LMR304"}
        assert len(told) == 6
    else:
        assert told == ()


@pytest.mark.parametrize("name", POLICIES)
def test_it_is_proved_that_private_work_stays_on_this_machine(name):
    stack = load([f"routing={name}", *EVERYBODY])
    elsewhere = [id_ for id_, profile in stack.providers.items() if profile.locality not in HERE]
    assert len(elsewhere) == 6
    verdict = verify(stack.policy, stack.providers)
    assert verdict.findings == ()
    proved = next(line for line in verdict.proved if "'private_stays_here'" in line)
    assert all(id_ in proved for id_ in elsewhere)


@pytest.mark.parametrize("name", POLICIES)
def test_its_tests_pass_and_show_all_of_it(name):
    report = run([name])
    assert not report.failed
    assert not report.errors
    assert not report.below(100)


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("local_first", [{Locality.LOOPBACK, Locality.PRIVATE}, {Locality.EMBEDDED}, {Locality.CLOUD}]),
        ("local_only", [{Locality.LOOPBACK, Locality.PRIVATE}, {Locality.EMBEDDED}]),
        ("cloud_first", [{Locality.CLOUD}, {Locality.LOOPBACK, Locality.PRIVATE}, {Locality.EMBEDDED}]),
        ("ab_test", [{Locality.LOOPBACK, Locality.PRIVATE}, {Locality.EMBEDDED}]),
    ],
)
def test_a_policy_takes_what_its_name_says_first(name, whose):
    assert [use.locality for use in load([f"routing={name}"]).policy.rules[-1].use] == whose


def test_cost_first_asks_everybody_by_cost():
    assert load(["routing=cost_first"]).policy.rules[-1].use == (Selector(order=Order.COST),)


def test_the_shares_of_ab_test_are_as_it_says():
    stack = load(["routing=ab_test", "provider=[lmstudio,ollama,embedded]"])
    policy = compile_policy(stack.policy, stack.providers, stack.seed)
    first = [decide(policy, Attributes(lot=lot)).candidates[0] for lot in range(0, 1 << 16, 16)]
    assert set(first) == {Candidate("lmstudio", AUTO), Candidate("ollama", AUTO)}
    assert first.count(Candidate("lmstudio", AUTO)) / len(first) == pytest.approx(3 / 4, abs=0.02)


@pytest.mark.parametrize("name", POLICIES)
def test_the_embedded_model_alone_is_enough_for_any_policy(name):
    stack = load([f"routing={name}", "provider=embedded"])
    policy = compile_policy(stack.policy, stack.providers)
    for privacy in Privacy:
        assert decide(policy, Attributes(privacy=privacy)).is_answered


@pytest.mark.parametrize("name", POLICIES)
def test_the_cloud_alone_goes_with_any_policy_that_does_not_forbid_it(name, keys):
    if name in KEEPS_OUT_THE_CLOUD:
        with pytest.raises(ConfigError, match="LMR302"):
            load([f"routing={name}", "provider=openai"])
    else:
        assert load([f"routing={name}", "provider=openai"])
