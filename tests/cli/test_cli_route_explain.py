"""``lmroute route explain``: a request followed through the policy."""

import argparse
import json
from dataclasses import replace

import pytest

from lmroute.cli import main
from lmroute.cli.route import request
from lmroute.errors import LmrouteError
from lmroute.model import (
    Attempt,
    Attributes,
    Candidate,
    Considered,
    Decision,
    Facts,
    Failure,
    Order,
    Privacy,
    Rule,
    Selector,
)
from lmroute.routing.decide import decide
from lmroute.routing.policy import compile_policy
from lmroute.routing.scenario import facts_of
from lmroute.telemetry.events import CallEvent, Usage, records
from lmroute.validate import load

RICH = """\
name: rich
attributes:
  tier: {type: enum, values: [free, pro], default: free}
  score: {type: float, min: 0, max: 1}
  depth: {type: int, min: 0}
  audited: {type: bool}
  regions: {type: set, values: [eu, us]}
  tags: {values: [nightly, eu]}
guarantees:
  - name: private_stays_here
    when: {privacy: {eq: private}}
    only: {locality: [embedded, loopback]}
rules:
  - name: pro
    priority: 10
    when: {tier: {eq: pro}, privacy: {ne: private}}
    use: [{select: {}, order: cost}]
  - name: shared
    when: {tags: {contains: nightly}, privacy: {ne: private}}
    use: [{select: {locality: [loopback, cloud]}, order: weighted, weights: {lmstudio: 3}}]
    fallback: last
  - name: last
    priority: 200
    when: {task: {eq: qa}}
    use: [embedded]
default: []
caller_choice:
  when: {privacy: {ne: private}}
  use: [openai]
budgets:
  - {name: cloud_day, select: {locality: [cloud]}, per: day, usd: 5}
"""
STACK = ("routing=rich", "provider=[lmstudio,openai,embedded]")
HERE, CLOUD = Candidate("lmstudio", "auto"), Candidate("openai", "gpt-4.1-mini")


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """What ``STACK`` composes to, once for all tests that only read it."""
    folder = tmp_path_factory.mktemp("own")
    file = folder / "routing" / "rich.yaml"
    file.parent.mkdir()
    file.write_text(RICH, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMROUTE_CONFIG_HOME", str(folder))
        return load(STACK)


def ask(stack, *words):
    """What the flags say."""
    parser = argparse.ArgumentParser()
    request.add_arguments(parser)
    return request.asked(parser.parse_args(words), stack)


def follow(stack, *words, **changed):
    """The candidates of the request that flags describe, without composing anything."""
    asked = ask(stack, *words)
    policy = compile_policy(replace(stack.policy, **changed), stack.providers, stack.seed)
    facts = facts_of(policy, asked.attributes, asked.scenario)
    return [str(candidate) for candidate in decide(policy, asked.attributes, facts).candidates]


@pytest.fixture
def explain(overlay, capsys):
    """Run the verb with the policy ``rich``: its exit code and what it printed."""
    overlay(routing__rich=RICH)

    def run(*words, stack=STACK):
        code = main(["route", "explain", *words, *stack])
        return code, capsys.readouterr()

    return run


@pytest.fixture
def data(explain):
    def run(*words, code=0, **known):
        ended, output = explain(*words, "--format", "json", **known)
        assert (ended, output.err) == (code, "")
        return json.loads(output.out)

    return run


def kept(told):
    return [each["candidate"] for each in told["candidates"] if each["kept"]]


def test_the_text_names_every_place_and_every_test(explain):
    code, output = explain("--set", "tier=pro", "--down", "lmstudio")

    assert (code, output.err) == (0, "")
    lines = [line.split() for line in output.out.splitlines()]
    assert ["pro", "own/routing/rich.yaml:14:5", "priority", "10", "decides"] in lines
    assert ["yes", "tier", "eq", "pro", "the", "request", "has", "pro"] in lines
    assert ["yes", "privacy", "ne", "private", "the", "request", "has", "internal"] in lines
    assert "request  tier=pro; all else as by default" in output.out
    assert "given    lmstudio is down" in output.out
    assert "openai/gpt-4.1-mini             $2 per million tokens, in + out" in output.out
    assert "lmstudio/auto                   of 'pro'  dropped: down" in output.out
    assert output.out.endswith("\n=> embedded/smollm2-135m-instruct, then openai/gpt-4.1-mini\n")


def test_the_json_has_the_same_with_places(data):
    told = data("--tag", "nightly", "--lot", "5")
    assert (told["rule"], told["lot"], told["overrides"]) == ("shared", 5, list(STACK))
    shared = next(rule for rule in told["rules"] if rule["name"] == "shared")
    assert (shared["location"]["file"], shared["location"]["line"]) == ("own/routing/rich.yaml", 18)
    assert shared["when"]["parts"][0]["value"] == ["nightly"]
    assert told["guarantees"][0]["location"]["line"] == 10
    default = told["rules"][-1]
    line = 1 + RICH.splitlines().index("default: []")
    assert (default["name"], default["location"]["line"]) == ("default", line)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], {}),
        (["--task", "qa"], {"task": "qa"}),
        (["--module", "M", "--signature", "S", "--predictor", "p.q"],
         {"module": "M", "signature": "S", "predictor": "p.q"}),
        (["--tag", "eu", "--tag", "nightly"], {"tags": frozenset({"eu", "nightly"})}),
        (["--privacy", "public"], {"privacy": Privacy.PUBLIC}),
        (["--needs", "response_schema,tools"], {"needs_response_schema": True, "needs_tools": True}),
        (["--needs", "vision", "--needs-reasoning"], {"needs_vision": True, "needs_reasoning": True}),
        (["--prompt-tokens", "1_000", "--max-output-tokens", "20"], {"prompt_tokens": 1000, "max_output_tokens": 20}),
        (["--stream", "--lot", "65535"], {"stream": True, "lot": 65535}),
        (["--set", "tier=free", "--set", "score=0.5", "--set", "depth=3"],
         {"own": {"tier": "free", "score": 0.5, "depth": 3}}),
        (["--set", "audited=true", "--set", "regions=us,eu"],
         {"own": {"audited": True, "regions": frozenset({"us", "eu"})}}),
        (["--set", "audited=no", "--set", "regions="], {"own": {"audited": False, "regions": frozenset()}}),
        (["--use", "openai"], {"use": "openai"}),
    ],
)  # fmt: skip
def test_every_flag_of_the_request(stack, words, said):
    assert ask(stack, *words).attributes == Attributes(**said)


@pytest.mark.parametrize(
    ("words", "candidates"),
    [
        ([], ["lmstudio/auto", "embedded/smollm2-135m-instruct", "openai/gpt-4.1-mini"]),
        (["--down", "lmstudio"], ["embedded/smollm2-135m-instruct", "openai/gpt-4.1-mini"]),
        (["--down", "lmstudio,embedded"], ["openai/gpt-4.1-mini"]),
        (["--down", "openai/gpt-4.1-mini"], ["lmstudio/auto", "embedded/smollm2-135m-instruct"]),
        (["--throttled", "lmstudio", "--throttled", "embedded"], ["openai/gpt-4.1-mini"]),
        (["--budget-used", "cloud_day"], ["lmstudio/auto", "embedded/smollm2-135m-instruct"]),
        (["--budget-used", "cloud_day=100%"], ["lmstudio/auto", "embedded/smollm2-135m-instruct"]),
        (["--budget-used", "cloud_day=99"],
         ["lmstudio/auto", "embedded/smollm2-135m-instruct", "openai/gpt-4.1-mini"]),
    ],
)  # fmt: skip
def test_every_circumstance(stack, words, candidates):
    assert follow(stack, "--set", "tier=pro", *words) == candidates


@pytest.mark.parametrize(
    ("order", "words", "first"),
    [
        ("load", ["--load", "lmstudio=2", "--load", "openai=1"], "embedded"),
        ("load", ["--load", "lmstudio=2", "--load", "embedded=3", "--load", "openai=1"], "openai"),
        ("latency", ["--latency", "lmstudio=20", "--latency", "openai=10"], "embedded"),
        ("latency", ["--latency", "lmstudio=2.5", "--latency", "openai=10", "--latency", "embedded=9"], "lmstudio"),
    ],
)
def test_load_and_latency_make_the_order(stack, order, words, first):
    rules = (Rule("all", (Selector(order=Order(order)),)),)
    assert follow(stack, *words, rules=rules)[0].startswith(first)


def test_lots_share_requests_out(stack):
    firsts = {follow(stack, "--tag", "nightly", "--lot", str(lot))[0] for lot in range(0, 60000, 4000)}
    assert firsts == {str(HERE), str(CLOUD)}


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (["--task", "other"], "nobody: 'default' names nobody on purpose"),
        (["--task", "qa", "--down", "embedded"], "asked all the same, because nobody else is left"),
        (["--task", "qa", "--throttled", "embedded"], "nobody: every candidate is dropped"),
        (["--use", "openai", "--privacy", "private"], "guarantee 'private_stays_here' forbids it"),
        (["--use", "lmstudio"], "lets callers choose others only"),
    ],
)
def test_nobody_answers_is_exit_code_1(explain, words, verdict):
    code, output = explain(*words)
    assert code == 1
    assert verdict in output.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--down", "lmstudo"], "--down lmstudo: provider 'lmstudo' is not selected; did you mean 'lmstudio'?"),
        (["--down", "openai/gpt-4.1-min"], "lists no model 'gpt-4.1-min'; did you mean 'gpt-4.1-mini'?"),
        (["--use", "opena"], "did you mean 'openai'?"),
        (["--budget-used", "cloud_dy"], "policy 'rich' has no such budget; did you mean 'cloud_day'?"),
        (["--budget-used", "cloud_day=lots"], "'lots' is no such number"),
        (["--tag", "nigtly"], "did you mean 'nightly'?"),
        (["--set", "teir=pro"], "the policy declares no such attribute; did you mean 'tier'?"),
        (["--set", "tier=gold"], "Known: free, pro"),
        (["--set", "tier"], "write --set NAME=VALUE"),
        (["--set", "task=qa"], "that attribute is built in"),
        (["--set", "depth=x"], 'depth: "x" is no int; write depth=3'),
        (["--set", "audited=maybe"], "is no bool"),
        (["--set", "score=7"], "attribute 'score' is 7.0"),
        (["--needs", "tool"], "did you mean 'tools'?"),
        (["--load", "lmstudio"], "write --load PROVIDER=NUMBER"),
        (["--load", "lmstudio=-1"], "'-1' is no such number"),
        (["--latency", "lmstudio=inf"], "'inf' is no such number"),
    ],
)
def test_a_wrong_word_is_told_with_the_right_one(stack, words, said):
    with pytest.raises(LmrouteError) as raised:
        ask(stack, *words)
    assert said in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("words", [["--lot", "70000"], ["--prompt-tokens", "-1"], ["--privacy", "secret"]])
def test_what_argparse_refuses(stack, words, capsys):
    with pytest.raises(SystemExit):
        ask(stack, *words)
    assert "invalid" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--down", "lmstudo"], "--down lmstudo: provider 'lmstudo' is not selected; did you mean 'lmstudio'?\n"),
        (["--records", "x"], "--records is where --call looks; give --call ID too\n"),
        (["--call", "x", "--task", "qa", "--down", "lmstudio"],
         "--call takes the request from its record; leave out task, down\n"),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(explain, words, said):
    code, output = explain(*words)
    assert (code, output.out, output.err) == (2, "", said)


def test_a_policy_that_a_run_would_refuse_is_explained_all_the_same(explain, overlay):
    overlay(routing__rich=RICH.replace("    when: {tier: {eq: pro}, privacy: {ne: private}}\n", ""))
    code, output = explain("--privacy", "private")
    assert code == 0
    assert "dropped: guarantee 'private_stays_here' forbids it" in output.out
    assert output.err.startswith("note: a run would refuse this policy (LMR")
    assert "own/routing/rich.yaml:14:5" in output.err


def test_a_policy_that_cannot_be_read_is_its_findings(explain, overlay):
    overlay(routing__rich=RICH.replace("tier: {eq: pro}", "teir: {eq: pro}"))
    code, output = explain("--task", "qa")
    assert (code, output.out) == (1, "")
    assert "rich.yaml:16" in output.err


def test_no_secret_is_shown(explain):
    for form in ([], ["--format", "json"]):
        _, output = explain(
            *form, stack=(*STACK, "providers.openai.auth_token={env: SK_TEST}", "task.data=sk-12345678")
        )
        assert "sk-12345678" not in output.out + output.err


# Recorded calls

REQUEST = Attributes(task="qa", privacy=Privacy.PUBLIC, tags=frozenset({"nightly"}), own={"tier": "pro"}, lot=9)


def recorded(tmp_path, *events, file="outputs/2025-06-01/10-00-00/calls.jsonl"):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    lines = [json.dumps(record) for event in events for record in records(event)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def event(call_id, *considered, rule="pro", **known):
    made = {
        "call_id": call_id, "stack": "rich@1", "attributes": REQUEST, "decision": Decision(rule, considered),
        "attempts": (Attempt(considered[0].candidate, 5.0, answered="m"),), "usage": Usage(1, 1),
        "duration_ms": 5.0, "overhead_us": 9.0,
    }  # fmt: skip
    return CallEvent(**made | known)


SAME = (Considered(HERE), Considered(Candidate("embedded", "smollm2-135m-instruct")), Considered(CLOUD))


def test_a_recorded_call_that_would_be_decided_the_same(explain, tmp_path):
    recorded(tmp_path, event("aaaa1", *SAME), event("bbbb2", *SAME))
    code, output = explain("--call", "aa")
    assert code == 0
    assert "request  task=qa tags=[nightly] privacy=public tier=pro" in output.out
    assert "call aaaa1" in output.out
    assert "today's policy decides the same" in output.out


def test_a_recorded_call_that_would_not(data, tmp_path):
    file = recorded(tmp_path, event("aaaa1", Considered(CLOUD), rule="cloud", facts=Facts(out={HERE: "breaker open"})))
    told = data("--call", "aaaa1", "--records", str(file))
    assert kept(told) == ["embedded/smollm2-135m-instruct", "openai/gpt-4.1-mini"]
    assert (told["recorded"]["same"], told["recorded"]["facts"]) == (False, ["lmstudio/auto: breaker open"])
    assert told["recorded"]["differences"][0] == "rule 'pro' decides, not 'cloud'"
    assert len(told["recorded"]["differences"]) == 2


def test_a_recorded_call_whose_words_are_not_known_any_more(data, explain, tmp_path):
    recorded(tmp_path, event("aaaa1", *SAME, attributes=Attributes(tags=frozenset({"old"}))))
    assert "tag 'old' is none that policy 'rich' knows" in data("--call", "aaaa1", code=1)["refused"]
    assert "today differs: the request is refused: tag 'old'" in explain("--call", "aaaa1")[1].out


def test_a_recorded_call_that_nobody_answered(explain, tmp_path):
    attempts = (Attempt(HERE, 2.0, failure=Failure.TIMEOUT, message="x"),)
    recorded(tmp_path, event("aaaa1", Considered(HERE), attempts=attempts), file="multirun/a/0/calls.jsonl")
    assert "nobody answered (timeout)" in explain("--call", "aaaa1", "--records", "multirun")[1].out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--call", "a"], "2 calls begin with 'a': aaaa1, aabb2"),
        (["--call", "zz"], "there is no recorded call 'zz'"),
        (["--call", "zz", "--records", "outputs"], "no call begins with 'zz' in "),
        (["--call", "a", "--records", "nowhere"], "nowhere: there is no such file or folder of call records"),
    ],
)
def test_a_call_that_is_not_found(explain, tmp_path, words, said):
    recorded(tmp_path, event("aaaa1", *SAME), event("aabb2", *SAME))
    code, output = explain(*words)
    assert (code, output.out) == (2, "")
    assert said in output.err


DAILY = "state/events/2026-03-04/host-1-20260304T050607000000Z.jsonl"  # LMROUTE_STATE_HOME


def test_a_call_of_any_program_is_found_without_naming_a_file(explain, tmp_path):
    file = recorded(tmp_path, event("aaaa1", *SAME), event("aabb2", *SAME), file=DAILY)
    recorded(tmp_path, event("cccc3", *SAME))
    code, output = explain("--call", "aaa")
    assert (code, output.err) == (0, "")
    assert f"in {file}: call aaaa1" in output.out
    assert "call cccc3" in explain("--call", "cc")[1].out
    assert "call aabb2" in explain("--call", "aabb2", "--records", str(tmp_path / "state" / "events"))[1].out
    assert "several calls whose id begins with 'aa': " in explain("--call", "aa")[1].err
    file.unlink()
    code, output = explain("--call", "aaaa1")
    assert (code, output.out) == (2, "")
    assert f"{file}: the call's record is gone" in output.err


def test_no_records_at_all(explain):
    code, output = explain("--call", "a")
    assert code == 2
    assert "there is no recorded call 'a'; 'lmroute logs' shows the ids of the latest ones" in output.err


def test_the_policy_may_be_any_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("name: mine\nrules:\n  - {name: all, use: [embedded]}\n", encoding="utf-8")
    assert main(["route", "explain", "--policy", "mine.yaml", "--format", "json", "provider=[embedded]"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["format_version"], told["policy"], told["asked"]) == ("1.0", "mine", "mine.yaml")
    assert told["rules"][0]["location"]["file"] == "mine.yaml"


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_call_is_none(empty, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["route", "explain", "--call", empty])
    assert ended.value.code == 2
    assert "argument --call: it is empty" in capsys.readouterr().err


def test_what_set_refuses_is_not_offered(stack):
    with pytest.raises(LmrouteError) as raised:
        ask(stack, "--set", "m=1")
    assert str(raised.value).endswith(
        "the policy declares no such attribute; there are tier, score, depth, audited, regions"
    )
