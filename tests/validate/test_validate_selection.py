"""What a run looks at, and that a finding is told once, by the one who can mend it."""

import subprocess
import sys

import pytest

from lmroute.diagnostics import Severity
from lmroute.errors import LmrouteError
from lmroute.validate.files import discover
from lmroute.validate.sampling import sample
from lmroute.validate.selection import Request, run

PROFILE = """# @package providers.{0}
id: {0}
type: openai_compatible
endpoint: http://127.0.0.1:9
models: [auto]
locality: loopback
tags: [local]
"""
POLICY = "name: {}\nrules:\n  - name: all\n    use: [{}]\n"


def check(*overrides, **options):
    return run(Request(overrides=overrides, **options))


def told(report):
    return [(finding.code, finding.location.file, finding.overrides) for finding in report.diagnostics]


def test_everything_of_ours_is_clean_and_counted():
    report = check()
    assert report.diagnostics == ()
    assert report.checked == {"files": len(discover()), "compositions": len(sample(discover()))}


def test_one_command_line_and_the_files_that_take_part(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    report = check("provider=openai", "task=ask")
    assert report.checked == {"files": 7, "compositions": 1}
    assert [(f.code, f.severity, f.overrides) for f in report.diagnostics] == [
        ("LMR101", Severity.ERROR, ("provider=openai", "task=ask")),
        ("LMR401", Severity.WARNING, ("provider=openai", "task=ask")),
    ]


def test_a_command_line_is_complete_and_a_template_need_not_be(overlay):
    overlay(provider__mine=PROFILE.format("mine").replace("http://127.0.0.1:9", "???"))
    assert check().diagnostics == ()
    assert told(check("provider=mine")) == [("LMR101", "own/provider/mine.yaml", ("provider=mine",))]


def test_a_missing_key_is_a_mistake_in_a_template_too(overlay):
    overlay(provider__mine=PROFILE.format("mine").replace("type: openai_compatible\n", ""))
    assert told(check()) == [("LMR101", "own/provider/mine.yaml", None)]


def test_a_file_s_own_finding_is_not_repeated_by_the_composition(overlay):
    overlay(provider__mine=PROFILE.format("mine") + "endpiont: x\n")
    for report in (check(), check("provider=mine")):
        assert told(report) == [("LMR102", "own/provider/mine.yaml", None)]


def test_where_else_a_bad_value_is_used_is_told_with_it(overlay):
    bad = PROFILE.format("mine").replace("http://127.0.0.1:9", "ftp://x")
    overlay(provider__mine=bad, provider__b=PROFILE.format("b").replace("http://127.0.0.1:9", "${..mine.endpoint}"))
    [finding] = check("provider=[mine,b]").diagnostics
    assert (finding.code, finding.location.file) == ("LMR103", "own/provider/mine.yaml")
    assert [str(related) for related in finding.related] == [
        "also used by providers.b.endpoint (own/provider/b.yaml:4:11)"
    ]


def test_an_option_has_findings_of_its_composition(overlay):
    overlay(routing__mine=POLICY.format("mine", "embedded, embeded"))
    assert told(check()) == [("LMR301", "own/routing/mine.yaml", ("routing=mine",))]


def test_a_policy_goes_with_the_providers_that_it_names(overlay):
    overlay(routing__mine=POLICY.format("mine", "vllm, openai/gpt-9"))
    [finding] = [finding for finding in check().diagnostics if finding.severity is Severity.ERROR]
    assert finding.code == "LMR301"
    assert finding.message.endswith("provider 'openai' lists no model 'gpt-9'")
    assert finding.overrides == ("provider=[lmstudio,embedded,vllm,openai]", "routing=mine")


def test_experiments_are_composed(overlay):
    choices = "  - override /provider: openai\n  - override /routing: local_only\n"
    overlay(experiment__mine=f"# @package _global_\ndefaults:\n{choices}")
    report = check()
    assert {(code, overrides) for code, _, overrides in told(report)} == {("LMR302", ("+experiment=mine",))}
    assert report.checked["compositions"] == len(sample(discover()))


def test_an_experiment_that_sweeps_is_checked_job_by_job(overlay):
    sweep = "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      provider: embedded,vllm\n      task.limit: 0,1\n"
    overlay(experiment__mine="# @package _global_\n" + sweep)
    report = check()
    assert {overrides for _, _, overrides in told(report)} == {
        ("provider=embedded", "task.limit=0", "+experiment=mine")
    }
    assert report.checked["compositions"] == len(sample(discover())) + 3  # four jobs of one experiment


@pytest.mark.parametrize("name", ["a b", "null", "a,b", "1", "it's"])
def test_an_option_may_have_any_name(name, overlay):
    folder = overlay(task__mine="")
    (folder / "task" / "mine.yaml").unlink()
    (folder / "task" / f"{name}.yaml").write_text("name: sentiment\ndata: x\nlimt: 1\n", encoding="utf-8")
    assert told(check()) == [("LMR102", f"own/task/{name}.yaml", None)]


def test_a_broken_file_hides_nothing(overlay):
    overlay(
        provider__broken="id: [", provider__headless=PROFILE.format("x"), provider__wrong=PROFILE.format("other"),
        provider__mine=PROFILE.format("mine").replace("127.0.0.1:9", "127.0.0.1:99999"),
    )  # fmt: skip
    codes = {(finding.location.file.rpartition("/")[2], finding.code) for finding in check().diagnostics}
    assert codes >= {("broken.yaml", "LMR001"), ("mine.yaml", "LMR103")}
    assert {name for name, _ in codes} == {"broken.yaml", "wrong.yaml", "mine.yaml", "headless.yaml"} - (
        set() if ("headless.yaml", "LMR002") in codes else {"headless.yaml"}
    )


BROKEN = "# @package providers.broken\nid: ["


def test_what_follows_from_a_broken_file_is_not_told(overlay):
    overlay(provider__broken=BROKEN, provider__headless=PROFILE.format("x").partition("\n")[2])
    for name, code in {"broken": "LMR001", "headless": "LMR002"}.items():
        for words in ([f"provider={name}"], [f"provider=[embedded,{name}]", f"providers.{name}.endpoint=null"]):
            assert told(check(*words)) == [(code, f"own/provider/{name}.yaml", None)]


def test_a_slip_beside_a_broken_file_is_told(overlay):
    overlay(provider__broken=BROKEN, provider__headless=PROFILE.format("x").partition("\n")[2])
    assert [code for code, *_ in told(check("provider=embeded"))] == ["LMR201"]
    found = check("provider=headless", "routing=local_frist", "task.limt=1").diagnostics
    assert sorted(finding.code for finding in found) == ["LMR002", "LMR201", "LMR201"]


def test_every_job_of_a_sweep_and_each_finding_once(overlay):
    overlay(routing__mine=POLICY.format("mine", "embedded, embedded"))
    report = check("provider=embedded,vllm", "routing=mine,local_first", multirun=True)
    found = [finding for finding in report.diagnostics if finding.code == "LMR309"]
    assert [finding.overrides for finding in found] == [("provider=embedded", "routing=mine")]
    assert report.checked == {"files": 9, "compositions": 4}


def test_a_sweep_that_cannot_be_expanded():
    report = check("provider=embedded,vllm", "seed=range(", multirun=True)
    assert [finding.code for finding in report.diagnostics] == ["LMR201"]


def test_files_only_composes_nothing(overlay):
    overlay(routing__mine=POLICY.format("mine", "embeded"), provider__mine=PROFILE.format("mine") + "endpiont: x\n")
    report = check(files_only=True)
    assert told(report) == [("LMR102", "own/provider/mine.yaml", None)]
    assert report.checked == {"files": len(discover()), "compositions": 0}


def test_files_only_has_no_use_for_overrides():
    with pytest.raises(LmrouteError, match="composes nothing"):
        check("provider=vllm", files_only=True)


@pytest.mark.parametrize(
    ("request_", "absent"),
    [("files_only=True", {"hydra", "omegaconf", "dspy", "litellm", "httpx"}), ("", {"dspy", "litellm", "httpx"})],
)
def test_what_a_run_imports(request_, absent):
    program = f"import sys; from lmroute.validate.selection import *; run(Request({request_})); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert absent & set(done.stdout.split()) == set()


def test_which_providers_go_with_a_policy_is_not_chosen_yet(overlay):
    rule = "name: all, when: {privacy: {ne: private}}, use: [{select: {locality: [cloud]}}]"
    cloud = f"name: mine\nrules:\n  - {{{rule}}}\ndefault: []\n"
    overlay(routing__mine=cloud, routing__none=cloud.replace("[cloud]}", "[cloud], types: [embedded]}"))
    assert told(check()) == [("LMR302", "own/routing/none.yaml", ("routing=none",))]
    assert told(check("routing=mine")) == [("LMR302", "own/routing/mine.yaml", ("routing=mine",))]


def test_an_ignored_warning_of_a_composition(overlay):
    repeated = POLICY.format("mine", "lmstudio, lmstudio")
    overlay(routing__mine=repeated.replace("]", "]  # lmroute: ignore[LMR309]"))
    assert check().diagnostics == check("provider=lmstudio", "routing=mine").diagnostics == ()
    overlay(routing__mine=repeated.replace(", lmstudio]", "]  # lmroute: ignore[LMR309]"))
    assert [finding.code for finding in check().diagnostics] == ["LMR006"]
    assert check(files_only=True).diagnostics == ()


def test_a_command_line_that_is_a_sweep_without_saying_so(overlay):
    """As run.py takes it: an experiment with ``hydra: {mode: MULTIRUN}`` is checked job by job."""
    sweep = "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '1,x'}}}\n"
    overlay(experiment__mine=f"# @package _global_\n{sweep}")
    report = run(Request(overrides=("+experiment=mine",)))
    assert report.checked["compositions"] == 2
    assert [finding.key for finding in report.diagnostics] == ["seed"]
