"""``lmroute policy test``: the tests that stand beside policies."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lmroute import cli
from lmroute.cli import main
from lmroute.config import paths
from lmroute.config.compose import jobs
from lmroute.config.schema import schema
from lmroute.model import BUILT_IN, LOTS, Failure

POLICY = """\
name: mine
attributes:
  tier: {type: enum, values: [free, pro]}
  regions: {type: set, values: [eu, us]}
  tags: {values: [nightly]}
guarantees:
  - {name: private_stays, when: {privacy: {eq: private}}, never: {locality: [cloud]}}
budgets:
  - {name: cloud_day, select: {locality: [cloud]}, per: day, usd: 1}
caller_choice: {when: {tier: {eq: pro}}, use: [openai]}
rules:
  - name: long
    priority: 20
    when: {prompt_tokens: {gt: 8000}}
    use: [openai, lmstudio]
  - name: all
    use: [lmstudio]
    fallback: long
"""
HEAD = 'overrides: ["provider=[lmstudio,openai]"]\ntests:\n'


@pytest.fixture
def tested(overlay, capsys):
    """Run the tests of the policy ``mine`` that a text lists; gives the exit code, stdout and stderr."""

    def run(tests: str, *words: str, head: str = HEAD, policy: str = POLICY):
        overlay(routing__mine=policy, routing__tests__mine=head + tests)
        code = main(["policy", "test", *(words or ["mine"])])
        return (code, *capsys.readouterr())

    return run


def test_what_is_shipped_is_tested_in_full(capsys):
    code = main(["policy", "test", "--format", "json", "--min-coverage", "100"])
    report = json.loads(capsys.readouterr().out)
    assert (code, report["passed"], report["errors"], report["untested"]) == (0, True, [], [])
    assert {row["policy"] for row in report["coverage"]} == set(paths.options("routing"))
    assert [row["missing"] for row in report["coverage"] if row["missing"]] == []


def test_a_new_project_is_tested_in_full_and_its_tests_find_a_mistake(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["init"])
    capsys.readouterr()
    assert main(["policy", "test", "my_policy", "--min-coverage", "100"]) == 0
    policy = Path("conf/routing/my_policy.yaml")
    policy.write_text(policy.read_text(encoding="utf-8").replace("gt: 8000", "gt: 80000"), encoding="utf-8")
    assert main(["policy", "test", "my_policy"]) == 1
    assert "long prompts go to the cloud" in capsys.readouterr().out


HOLD = [
    "{expect: {rule: all, answered_by: lmstudio, asked: [lmstudio], candidates: [lmstudio, openai]}}",
    "{expect: {answered_by: lmstudio/auto, refused: false, unanswered: false}}",
    "{request: {prompt_tokens: 9000}, expect: {rule: long, candidates: [openai, lmstudio]}}",
    "{request: {privacy: private, prompt_tokens: 9000}, expect: {asked: [lmstudio], never: [openai]}}",
    "{down: [lmstudio], expect: {asked: [openai]}}",
    "{down: [lmstudio], budget_used: [cloud_day], expect: {asked: [lmstudio], unanswered: true}}",
    "{down: [lmstudio], throttled: [openai], expect: {candidates: [lmstudio]}}",
    "{throttled: [lmstudio, openai], expect: {refused: throttled, unanswered: true, asked: []}}",
    "{fails: {lmstudio: timeout, openai: auth}, expect: {asked: [lmstudio, openai], unanswered: true}}",
    "{fails: {lmstudio: invalid_request}, expect: {asked: [lmstudio], unanswered: true}}",
    "{request: {needs: [vision], privacy: private}, expect: {refused: cannot see images}}",
    "{request: {use: openai, tier: pro}, expect: {rule: caller_choice, answered_by: openai}}",
    "{request: {use: openai}, expect: {refused: caller_choice}}",
    "{request: {use: openai, tier: pro, privacy: private}, expect: {refused: PRIVATE_STAYS}}",
    "{request: {tags: [nightly], regions: [eu, us], tier: free, task: any, lot: 3}, expect: {rule: all}}",
]


def test_what_holds_passes(tested):
    code, out, err = tested("".join(f"  - {{name: it holds, {test[1:]}\n" for test in HOLD))
    assert out.startswith(f"{len(HOLD)} tests in 1 file passed\n"), out
    assert (code, err) == (0, "")


def test_what_does_not_hold_fails_each_time(tested):
    contrary = [re.sub(r"expect: .*", "expect: {rule: null, refused: no such reason}}", test) for test in HOLD]
    code, out, _ = tested("".join(f"  - {{name: it does not, {test[1:]}\n" for test in contrary))
    assert (code, out.count("FAIL")) == (1, len(HOLD))
    assert f"{len(HOLD)} of {len(HOLD)} tests in 1 file failed\n" in out


def test_a_failure_says_where_what_was_expected_and_what_happened(tested):
    code, out, _ = tested("""\
  - name: long private prompts are answered
    request: {privacy: private, prompt_tokens: 9000}
    fails: {lmstudio: timeout}
    expect: {rule: all, answered_by: openai}
""")
    assert code == 1
    assert out.splitlines()[:7] == [
        "FAIL own/routing/tests/mine.yaml:3:11: long private prompts are answered",
        "  expected rule: all (line 6); got: long",
        "  expected answered_by: openai (line 6); got: nobody",
        "  rule: long (own/routing/mine.yaml:12:5)",
        "  asked: lmstudio/auto (timeout)",
        "  passed over: openai/gpt-4.1-mini: guarantee 'private_stays' forbids it",
        "1 of 1 test in 1 file failed",
    ]


def test_each_expectation_fails_with_what_came_instead(tested):
    _, out, _ = tested("""\
  - name: wrong throughout
    expect:
      rule: null
      answered_by: openai
      asked: [openai]
      candidates: []
      never: [openai, lmstudio]
      refused: words
      unanswered: true
""")
    assert re.findall(r"expected (\w+): (.*) \(line (\d+)\); got: (.*)", out) == [
        ("rule", "none", "5", "all"),
        ("answered_by", "openai", "6", "lmstudio/auto"),
        ("asked", "openai", "7", "lmstudio/auto"),
        ("candidates", "nobody", "8", "lmstudio/auto, openai/gpt-4.1-mini"),
        ("never", "openai, lmstudio", "9", "lmstudio/auto, openai/gpt-4.1-mini may be asked"),
        ("refused", "words", "10", "not refused: lmstudio/auto, openai/gpt-4.1-mini may be asked"),
        ("unanswered", "true", "11", "lmstudio/auto answers"),
    ]


UNKNOWN = [
    ("request: {privcy: private}", "request.privcy", "privcy", "LMR102", "did you mean 'privacy'?"),
    ("request: {teir: pro}", "request.teir", "teir", "LMR102", "did you mean 'tier'?"),
    ("request: {total_tokens: 5}", "request.total_tokens", "total_tokens", "LMR102", "did you mean"),
    ("request: {tier: por}", "request.tier", "por", "LMR103", "did you mean 'pro'?"),
    ("request: {regions: [eu, uss]}", "request.regions.1", "uss", "LMR103", "did you mean 'us'?"),
    ("request: {regions: eu}", "request.regions", "eu", "LMR103", "set of words"),
    ("request: {tags: [nightly, nigthly]}", "request.tags.1", "nigthly", "LMR103", "did you mean 'nightly'?"),
    ("request: {use: opnai}", "request.use", "opnai", "LMR103", "did you mean 'openai'?"),
    ("down: [lmstudi]", "down.0", "lmstudi", "LMR103", "did you mean 'lmstudio'?"),
    ("down: [ollama]", "down.0", "ollama", "LMR103", "write provider=[lmstudio,openai,ollama] in the overrides"),
    ("throttled: [openai/gpt-4.1-min]", "throttled.0", "openai/", "LMR103", "did you mean 'gpt-4.1-mini'?"),
    ("fails: {lmstudi: timeout}", "fails.lmstudi", "lmstudi", "LMR103", "did you mean 'lmstudio'?"),
    ("load: {openia: 1}", "load.openia", "openia", "LMR103", "did you mean 'openai'?"),
    ("latency_ms: {openia: 1}", "latency_ms.openia", "openia", "LMR103", "did you mean 'openai'?"),
    ("budget_used: [cloud_dya]", "budget_used.0", "cloud_dya", "LMR103", "did you mean 'cloud_day'?"),
    ("expect: {rule: lang}", "expect.rule", "lang", "LMR103", "did you mean 'long'?"),
    ("expect: {never: [opnai]}", "expect.never.0", "opnai", "LMR103", "did you mean 'openai'?"),
    ("expect: {asked: [opnai]}", "expect.asked.0", "opnai", "LMR103", "did you mean 'openai'?"),
    ("expect: {candidates: [opnai]}", "expect.candidates.0", "opnai", "LMR103", "did you mean 'openai'?"),
    ("expect: {answered_by: opnai}", "expect.answered_by", "opnai", "LMR103", "did you mean 'openai'?"),
]


def test_an_unknown_word_is_an_error_at_its_place_and_no_failure(tested):
    rest = ["" if test.startswith("expect") else ", expect: {answered_by: lmstudio}" for test, *_ in UNKNOWN]
    lines = [f"  - {{name: x, {test}{more}}}" for (test, *_), more in zip(UNKNOWN, rest, strict=True)]
    code, out, err = tested("\n".join(lines))
    assert (code, out) == (2, "")
    told = re.split(r"^own/routing/tests/mine.yaml:", err, flags=re.MULTILINE)[1:]
    assert len(told) == len(UNKNOWN)
    for index, (_, where, word, kind, advice) in enumerate(UNKNOWN):
        column = lines[index].index(word, lines[index].index(where.split(".")[0])) + 1
        assert told[index].startswith(f"{index + 3}:{column}: {kind} tests.{index}.{where}: "), told[index]
        assert advice in told[index]


def test_what_the_schema_does_not_know_is_an_error_too(tested):
    code, out, err = tested("  - {name: x, fails: {lmstudio: timeot}, expct: {rule: all}}\n")
    assert (code, out) == (2, "")
    assert "own/routing/tests/mine.yaml:3:33: LMR103 tests.0.fails.lmstudio: " in err
    assert "  help: did you mean 'timeout'?\nown/routing/tests/mine.yaml:3:42: LMR102 tests.0.expct: unknown key" in err


def test_a_file_that_cannot_be_run_keeps_no_other_from_it(overlay, capsys):
    overlay(routing__mine=POLICY, routing__tests__mine="policy: mien\ntests: [{name: x, expect: {rule: all}}]\n")
    assert main(["policy", "test", "mine", "local_only"]) == 2
    shown = capsys.readouterr()
    assert "6 tests in 1 file passed" in shown.out
    assert "own/routing/tests/mine.yaml:1:9: LMR103 policy: there is no policy" in shown.err
    assert "did you mean 'mine'?" in shown.err


def test_what_cannot_be_composed_is_told_at_the_override(tested):
    tests = "  - {name: x, expect: {rule: all}}\n"
    code, _, err = tested(tests, head="overrides: [task=qa, 'provider=[lmstudoi]']\ntests:\n")
    assert code == 2
    assert "own/routing/tests/mine.yaml:1:22: LMR201 provider: there is no provider 'lmstudoi'" in err
    code, _, err = tested(tests, head="overrides: [routing=mine]\ntests:\n")
    assert (code, "write `policy: mine` instead" in err) == (2, True)
    code, _, err = tested(tests, policy=POLICY.replace("openai, lmstudio", "opnai, lmstudio"))
    assert (code, "own/routing/mine.yaml:15" in err) == (2, True)


def test_a_secret_in_an_override_is_not_shown(tested):
    head = "overrides: ['provider=[lmstudio,openai]', '+providers.openai.params.api_key=hunter2']\ntests:\n"
    for kind in ("text", "json", "junit"):
        code, out, err = tested("  - {name: x, expect: {rule: all}}\n", "mine", "--format", kind, head=head)
        assert (code, "hunter2" in out + err) == (2, False)


def test_an_override_that_may_hold_a_secret_is_masked(tested):
    head = "overrides: ['provider=[lmstudio,openai]', 'providers.openai.auth_token={env: HIDDEN_NAME}']\ntests:\n"
    code, out, _ = tested("  - {name: x, expect: {rule: all}}\n", "mine", "--format", "json", head=head)
    overrides = ["provider=[lmstudio,openai]", "providers.openai.auth_token=***"]
    assert (code, json.loads(out)["files"][0]["overrides"]) == (0, overrides)


SOUND = """\
name: mine
rules:
  - {name: all, use: [lmstudio]}
"""
ALMOST = """\
  - {name: one, expect: {asked: [lmstudio]}}
  - {name: two, down: [lmstudio], expect: {asked: [openai]}}
  - {name: three, request: {use: openai, privacy: private, tier: pro}, expect: {refused: true}}
"""


def test_what_no_test_shows_is_listed_at_its_place(tested):
    code, out, _ = tested(ALMOST)
    assert code == 0
    assert re.search(r"^mine +3 +1/3 +4/6 +1/2 +1/1 +58 %$", out, re.MULTILINE)
    assert out.partition("not covered:\n")[2].splitlines() == [
        "  own/routing/mine.yaml:12:11: rule 'long' never decided",
        "  own/routing/mine.yaml:14:32: rule 'long': never seen that prompt_tokens gt 8000 is true",
        "  own/routing/mine.yaml:15:10: rule 'long': never fell back openai/gpt-4.1-mini -> lmstudio/auto",
        "  own/routing/mine.yaml:10:16: rule 'caller_choice' never decided",
        "  own/routing/mine.yaml:10:35: rule 'caller_choice': never seen that tier eq pro is false",
    ]


@pytest.mark.parametrize(("least", "code"), [("0", 0), ("58", 0), ("58%", 0), ("58.4", 1), ("100", 1)])
def test_too_little_coverage_fails(least, code, tested):
    got, _, err = tested(ALMOST, "mine", "--min-coverage", least)
    assert (got, "covered: mine" in err) == (code, bool(code))


@pytest.mark.parametrize("least", ["-1", "101", "nan", "many"])
def test_a_share_that_is_none_is_wrong_usage(least):
    with pytest.raises(SystemExit) as ended:
        main(["policy", "test", f"--min-coverage={least}"])
    assert ended.value.code == 2


def test_all_files_of_a_policy_count_together_and_an_untested_policy_is_told(overlay, capsys):
    rest = ["{name: a, request: {prompt_tokens: 9000}, expect: {rule: long}}",
            "{name: b, request: {prompt_tokens: 9000}, down: [openai], expect: {asked: [lmstudio]}}",
            "{name: c, request: {use: openai, tier: pro}, expect: {rule: caller_choice}}",
            "{name: d, request: {use: openai, tier: free}, expect: {refused: true}}"]  # fmt: skip
    second = f"policy: mine\n{HEAD}" + "".join(f"  - {test}\n" for test in rest)
    overlay(
        routing__mine=POLICY, routing__tests__mine=HEAD + ALMOST, routing__tests__more=second,
        routing__bare=POLICY.replace("name: mine", "name: bare"),
    )  # fmt: skip
    assert main(["policy", "test", "mine", "--min-coverage", "100"]) == 0
    assert re.search(r"^mine +7 .* 100 %$", capsys.readouterr().out, re.MULTILINE)
    assert main(["policy", "test", "more"]) == 0
    assert "not covered" in capsys.readouterr().out
    assert main(["policy", "test", "--min-coverage", "1"]) == 1
    shown = capsys.readouterr()
    assert shown.out.endswith("\nwithout tests: bare\n")
    assert shown.err == "less than 1 % covered: bare\n"
    assert main(["policy", "test", "bare"]) == 2
    assert "policy 'bare' has no tests\n  help: write conf/routing/tests/bare.yaml" in capsys.readouterr().err


def test_files_are_named_by_path_by_name_and_by_policy_each_once(overlay, tmp_path, capsys):
    own = overlay(routing__mine=POLICY, routing__tests__mine=HEAD + ALMOST)
    elsewhere = tmp_path / "elsewhere.yml"
    elsewhere.write_text(f"policy: mine\n{HEAD}{ALMOST}", encoding="utf-8")
    words = ["mine", "own/routing/tests/mine.yaml", str(own / "routing" / "tests" / "mine.yaml"), "elsewhere.yml"]
    assert main(["policy", "test", *words, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [file["file"] for file in report["files"]] == ["own/routing/tests/mine.yaml", "elsewhere.yml"]
    assert report["coverage"][0]["tests"] == 6


@pytest.mark.parametrize(
    ("word", "said"), [("local_frist", "did you mean 'local_first'?"), ("nothing.yaml", "there is no such file")]
)
def test_a_word_that_means_no_tests_is_wrong_usage(word, said, capsys):
    assert main(["policy", "test", word]) == 2
    assert said in capsys.readouterr().err


def test_json_has_everything(tested):
    code, out, _ = tested(
        ALMOST + "  - {name: bad, down: [lmstudio], fails: {openai: auth}, expect: {unanswered: false}}\n",
        "mine", "--format", "json",
    )  # fmt: skip
    report = json.loads(out)
    assert (code, report["passed"], report["test_count"], report["failure_count"]) == (1, False, 4, 1)
    [file] = report["files"]
    assert (file["policy"], file["overrides"]) == ("mine", ["provider=[lmstudio,openai]"])
    *_, refused, bad = file["tests"]
    assert "guarantee 'private_stays' forbids it" in refused["refused"]
    assert (bad["passed"], bad["rule"], bad["refused"]) == (False, "all", None)
    assert bad["asked"] == [{"candidate": "openai/gpt-4.1-mini", "failure": "auth"}]
    assert bad["dropped"] == [{"candidate": "lmstudio/auto", "reason": "down"}]
    [miss] = bad["misses"]
    assert (miss["key"], miss["expected"], miss["got"], miss["location"]["line"]) == (
        "unanswered", "false", "nobody answers", 6,
    )  # fmt: skip
    [coverage] = report["coverage"]
    assert (coverage["rules"], coverage["guarantees"]) == ({"covered": 1, "total": 3}, {"covered": 1, "total": 1})
    assert [(gap["kind"], gap["location"]["line"]) for gap in coverage["missing"]][:2] == [
        ("rule", 12),
        ("predicate", 14),
    ]


def test_junit_has_a_case_for_each_test_and_for_each_error(overlay, capsys):
    failing = HEAD + '  - {name: "<one> & \\e[1m", expect: {rule: long}}\n  - {name: two, expect: {rule: all}}\n'
    overlay(routing__mine=POLICY, routing__tests__mine=failing, routing__tests__broken="policy: mine\n")
    assert main(["policy", "test", "mine", "broken", "--format", "junit"]) == 2
    root = ET.fromstring(capsys.readouterr().out)
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "1")
    one, two, error = root.iter("testcase")
    assert (one.get("name"), one.get("classname"), len(two)) == ("<one> & \\x1b[1m", "lmroute.mine", 0)
    assert "asked: lmstudio/auto (answered)" in one.find("failure").text
    assert (error.get("classname"), error.find("error").get("type")) == ("own/routing/tests/broken.yaml", "LMR101")


def test_a_file_of_tests_is_a_kind_of_its_own_that_validate_checks(overlay, capsys):
    own = overlay(routing__mine=SOUND, routing__tests__mine=HEAD + ALMOST, routing__tests__local_first=HEAD + ALMOST)
    assert main(["validate", "--format", "text"]) == 0
    assert capsys.readouterr().out.startswith("all good")
    swept = {job[-1].removeprefix("routing=") for job in jobs(["routing=glob(*)"])}  # as Hydra sees them
    assert swept
    assert swept <= set(paths.options("routing"))
    (own / "routing" / "tests" / "mine.yaml").write_text(HEAD + "  - {nam: x, expect: {}}\n", encoding="utf-8")
    (own / "routing" / "tests" / "late.yml").write_text(HEAD + ALMOST, encoding="utf-8")
    assert main(["validate", "--format", "text", "--files-only"]) == 1
    out = capsys.readouterr().out
    assert "own/routing/tests/mine.yaml:3:6: LMR102 tests.0.nam: unknown key" in out
    assert "own/routing/tests/late.yml:1:1: LMR004 lmroute policy test reads .yaml files and never .yml" in out


def test_a_broken_file_of_tests_hides_nothing_about_the_option_it_is_named_like(overlay, capsys):
    overlay(routing__mine="name: [", routing__tests__mine=":\n  - [")
    assert main(["validate", "routing=mine", "--format", "text"]) == 1
    out = capsys.readouterr().out
    assert "own/routing/mine.yaml:1:" in out
    assert "tests/mine.yaml" not in out


def test_a_broken_file_of_tests_hides_nothing_about_an_override_that_names_it(overlay, capsys):
    sweep = "# @package _global_\nhydra: {sweeper: {params: {task.limt: '1,2'}}}\n"
    overlay(experiment__mine=sweep, routing__tests__task=":\n  - [")
    assert main(["validate", "--format", "text"]) == 1
    out = capsys.readouterr().out
    assert "own/routing/tests/task.yaml:" in out
    assert "LMR201 task.limt: " in out


def test_each_comparison_has_its_own_place(tested):
    policy = POLICY.replace(
        "when: {prompt_tokens: {gt: 8000}}",
        """when:
      not: {privacy: {eq: public}, task: {eq: qa}}
      any: [{stream: {eq: true}}, {prompt_tokens: {gt: 8000}}]""",
    )
    _, out, _ = tested(ALMOST, policy=policy)
    assert re.findall(r"mine.yaml:(\d+):(\d+): rule 'long': never seen that (.*) is true", out) == [
        ("15", "27", "privacy eq public"),
        ("15", "47", "task eq qa"),
        ("16", "27", "stream eq true"),
        ("16", "56", "prompt_tokens gt 8000"),
    ]


def test_the_schema_knows_every_attribute_and_every_failure():
    parts = schema("policy_test.schema.json")["$defs"]
    known = {name.replace("needs_", "needs.") for name in BUILT_IN} - {"total_tokens"}
    needs = {f"needs.{word}" for word in parts["request"]["properties"]["needs"]["items"]["enum"]}
    assert set(parts["request"]["properties"]) - {"needs", "use", "lot"} | needs == known
    assert parts["request"]["properties"]["lot"]["maximum"] == LOTS - 1
    assert parts["request"]["properties"]["privacy"]["enum"] == list(BUILT_IN["privacy"].values)
    assert parts["failure"]["enum"] == [failure.value for failure in Failure if failure is not Failure.GUARANTEE]


def test_help_tells_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["policy", "test", "--help"])
    assert ended.value.code == 0
    assert "no server" in " ".join(capsys.readouterr().out.split())
