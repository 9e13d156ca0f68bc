"""``lmroute policy verify``: what it prints, in both formats, and how it ends."""

import json

import pytest

from lmroute.cli import main

BOTH = ("provider=[lmstudio,openai]", "~providers.openai.auth_token")
GUARANTEE = "guarantees: [{name: stays, when: {privacy: {eq: private}}, only: {locality: [embedded, loopback]}}]\n"
PRIVATE = "  - {name: private, when: {privacy: {eq: private}}, use: [lmstudio]}\n"
REST = "  - {name: rest, use: [lmstudio, openai]}\n"
SOUND = f"name: sound\n{GUARANTEE}rules:\n{PRIVATE}{REST}"
LONG = "  - {name: long, when: {prompt_tokens: {gt: 8000}}, use: [openai]}\n"
LEAKY = f"name: leaky\n{GUARANTEE}rules:\n{LONG}{PRIVATE}{REST}"


@pytest.fixture
def verify(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(text, *words):
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        code = main(
            ["policy", "verify", "--policy", "mine.yaml", *(BOTH if "provider=[]" not in words else ()), *words]
        )
        return code, capsys.readouterr()

    return run


def test_what_is_proved_is_told_and_is_no_finding(verify):
    code, output = verify(SOUND)
    assert (code, output.err) == (0, "")
    assert output.out == (
        "policy 'sound' (mine.yaml:1:1) over lmstudio, openai\n\n"
        "proved for every request:\n"
        "  guarantee 'stays': no request (privacy = private) reaches openai (2 rules with their fallbacks)\n"
        "  each rule decides some request\n"
        "  every request meets a rule\n"
        "  no request is turned away that another selected provider could and may serve\n"
    )


def test_a_leak_is_shown_with_its_request_and_places_and_not_proved(verify):
    code, output = verify(LEAKY)
    assert code == 1
    assert "mine.yaml:4:5: LMR324" in output.out
    assert "privacy=private, prompt_tokens=8001 reaches openai/gpt-4.1-mini (cloud)" in output.out
    assert "note: this guarantee forbids it (mine.yaml:2:14)" in output.out
    assert "guarantee 'stays': no request" not in output.out


def test_the_same_as_data(verify):
    code, output = verify(LEAKY, "--format", "json")
    told = json.loads(output.out)
    assert (code, told["format_version"], told["policy"]) == (1, "1.0", "leaky")
    (finding,) = told["findings"]
    assert (finding["code"], finding["flaw"], finding["severity"]) == ("LMR324", "leak", "error")
    assert finding["witness"] == {"privacy": "private", "prompt_tokens": 8001}
    assert (finding["candidate"], finding["assumes"], finding["location"]["line"]) == ("openai/gpt-4.1-mini", None, 4)
    assert told["refused"] == told["unanswered"] == []


@pytest.mark.parametrize("words", [("--down", "openai"), ("--k", "1"), ("--down", "openai", "--k", "1")], ids=" ".join)
def test_what_servers_leave_unanswered_is_told_once_and_is_a_finding(verify, words):
    code, output = verify(SOUND, *words)
    assert code == 1
    lost = output.out.partition("without an answer while servers are down:\n")[2]
    assert lost.count("openai down: needs.vision=true (rule 'rest', mine.yaml:5:5): lmstudio cannot serve it") == 1


def test_any_number_of_servers_is_told_as_data_with_its_request(verify):
    code, output = verify(SOUND, "--k", "2", "--format", "json")
    lost = json.loads(output.out)["unanswered"]
    assert code == 1
    assert {"down": ["lmstudio", "openai"], "rule": "rest", "left": [], "witness": {}}.items() <= lost[-1].items()
    assert {"down": ["lmstudio"], "rule": "private", "witness": {"privacy": "private"}}.items() <= lost[0].items()


def test_what_nobody_may_serve_is_told_when_asked_and_is_no_finding(verify):
    code, output = verify(SOUND, "--refused")
    assert code == 0
    assert (
        "privacy=private, needs.reasoning=true (rule 'private', mine.yaml:4:5): lmstudio cannot serve it" in output.out
    )


def test_a_warning_ends_with_1_when_asked(verify):
    gap = f"name: mine\n{GUARANTEE}rules:\n  - {{name: short, when: {{prompt_tokens: {{lt: 10}}}}, use: [lmstudio]}}\n"
    assert verify(gap)[0] == 0
    assert verify(gap, "--fail-on", "warning")[0] == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--down", "opnai"), "did you mean 'openai'?"),
        (("--k", "-1"), "0 or more"),
        (("routing=local_first",), "routing=local_first"),
        (("provider=[]",), "no provider is selected"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_what_cannot_be_asked_says_why(verify, words, why):
    code, output = verify(SOUND, *words)
    assert code in {1, 2}
    assert why in output.err
    assert output.out == ""


def test_nobody_selected_is_one_document_too(verify):
    code, output = verify(SOUND, "provider=[]", "--format", "json")
    assert code == 1
    assert "LMR305" in {finding["code"] for finding in json.loads(output.out)["findings"]}


def test_a_condition_that_takes_too_many_cases_is_given_up_in_words(verify):
    choices = ", ".join(f"{{tags: {{contains_any: [a{n}, b{n}, c{n}]}}}}" for n in range(8))
    text = f"name: mine\nrules:\n  - {{name: many, when: {{all: [{choices}]}}, use: [lmstudio]}}\n"
    code, output = verify(text, "--k", "2", "--refused")
    assert code == 1
    assert "LMR328" in output.out
    assert "proved for every request:\n  nothing" in output.out
