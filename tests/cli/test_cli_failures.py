"""A program that asked for JSON gets a document whatever happens."""

import json

import pytest

from lmroute.cli import main

BAD = "name: bad\nrules:\n  - {name: all, use: [embedded], prio: 3}\n"
STACK = "provider=[embedded]"


@pytest.fixture
def ended(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text(BAD, encoding="utf-8")
    (tmp_path / "calls.jsonl").write_text("", encoding="utf-8")

    def run(*words):
        code = main([*words, STACK])
        return code, capsys.readouterr()

    return run


@pytest.mark.parametrize("verb", [("route", "explain"), ("policy", "replay", "calls.jsonl")], ids=" ".join)
def test_a_policy_that_cannot_be_read_is_one_document(ended, verb):
    code, output = ended(*verb, "--policy", "bad.yaml", "--format", "json")
    told = json.loads(output.out)
    assert (code, told["format_version"], told["error"]) == (1, "1.0", output.err.rstrip("\n"))
    (finding,) = told["findings"]
    assert (finding["code"], finding["location"]["file"], finding["location"]["line"]) == ("LMR102", "bad.yaml", 3)


@pytest.mark.parametrize("verb", [("route", "explain"), ("policy", "replay", "calls.jsonl")], ids=" ".join)
def test_wrong_usage_is_one_too(ended, verb):
    code, output = ended(*verb, "--policy", "nowhere", "--format", "json")
    told = json.loads(output.out)
    assert (code, told["findings"]) == (2, [])
    assert told["error"].startswith("there is no policy 'nowhere'")


def test_tests_that_are_not_there(capsys):
    assert main(["policy", "test", "nowhere", "--format", "json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["format_version"], told["findings"]) == ("1.0", [])
    assert "nowhere" in told["error"]


def test_people_get_none(ended):
    code, output = ended("route", "explain", "--policy", "bad.yaml")
    assert (code, output.out) == (1, "")
    assert output.err.startswith("bad.yaml:3:")
