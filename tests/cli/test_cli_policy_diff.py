"""``lmroute policy diff``: nothing for policies that mean the same, else every set of requests, with a request."""

import json

import pytest

from lmroute.cli import main

BOTH = ("provider=[lmstudio,openai]", "~providers.openai.auth_token")
BEFORE = """name: before
rules:
  - {name: long, when: {prompt_tokens: {gt: 8000}}, use: [openai]}
  - {name: rest, use: [lmstudio]}
"""
REWRITTEN = """name: rewritten
rules:
  - {name: others, priority: 200, use: [lmstudio]}
  - {name: longest, when: {prompt_tokens: {gt: 10000}}, use: [openai]}
  - {name: longer, when: {not: {prompt_tokens: {lte: 8000}}}, use: [openai]}
"""


@pytest.fixture
def diff(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(before, after, *words):
        (tmp_path / "a.yaml").write_text(before, encoding="utf-8")
        (tmp_path / "b.yaml").write_text(after, encoding="utf-8")
        code = main(["policy", "diff", "a.yaml", "b.yaml", *BOTH, *words])
        return code, capsys.readouterr().out

    return run


def test_rules_that_are_written_otherwise_and_mean_the_same_are_no_difference(diff):
    assert diff(BEFORE, REWRITTEN) == (0, "a.yaml and b.yaml route every request alike over lmstudio, openai\n")


def test_a_bound_that_moves_by_one_is_one_request_size(diff):
    code, text = diff(BEFORE, BEFORE.replace("gt: 8000", "gt: 8001"))
    assert code == 1
    assert "a.yaml  asks openai/gpt-4.1-mini (rule 'long', a.yaml:3:5)" in text
    assert "b.yaml  asks lmstudio/auto (rule 'rest', b.yaml:4:5)" in text
    assert "e.g. prompt_tokens=8001\n" in text


def test_the_same_as_data(diff):
    code, text = diff(BEFORE, BEFORE.replace("use: [lmstudio]", "use: [lmstudio, openai]"), "--format", "json")
    told = json.loads(text)
    assert (code, told["format_version"], told["before"], told["after"]) == (1, "1.0", "a.yaml", "b.yaml")
    sides = {(change["before"]["does"], change["after"]["does"]) for change in told["changes"]}
    assert ("then asks nobody else", "then asks openai/gpt-4.1-mini") in sides
    assert all(change["before"]["rule"] == "rest" for change in told["changes"])


def test_who_callers_may_choose_is_part_of_it(diff):
    code, text = diff(BEFORE, BEFORE + "caller_choice: {use: [lmstudio]}\n")
    assert code == 1
    assert "callers may choose lmstudio/auto" in text
    assert "use=lmstudio/auto" in text


def test_a_policy_that_cannot_be_read_is_one_document(diff):
    code, text = diff(BEFORE, "name: b\nrules: []\n", "--format", "json")
    assert code == 1
    assert [finding["code"] for finding in json.loads(text)["findings"]] == ["LMR103"]
