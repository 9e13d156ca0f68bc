"""`lmroute explain`: what a code means, shown on examples that are really run."""

import json
import os
from pathlib import Path

import pytest

from lmroute.cli import main
from lmroute.model import Failure
from lmroute.providers.probe import ErrorCode
from lmroute.validate.table import RULES


@pytest.fixture
def told(capsys):
    def run(*words):
        code = main(["explain", *words])
        return code, *capsys.readouterr()

    return run


def test_alone_it_lists_every_code(told):
    code, out, err = told()

    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[: len(RULES)]] == list(RULES)
    assert "LMR309  warning          a candidate twice in one rule\n" in out


def test_a_code_is_explained_with_what_is_really_printed(told):
    code, out, err = told("LMR102")

    assert (code, err) == (0, "")
    assert out.startswith("LMR102: an unknown key (error)\n\nA misspelt key would be ignored")
    bad, good = out.split("Good:")
    assert "    context_windw: 8192\n  $ lmroute validate --files-only\n" in bad
    assert "  provider/mine.yaml:7:1: LMR102 providers.mine.context_windw: unknown key\n" in bad
    assert "    help: did you mean 'context_window'?\n" in bad
    assert "    context_window: 8192\n" in good
    assert "  all good: checked " in good


@pytest.mark.parametrize("word", ["lmr305", "305", "Lmr305"])
def test_a_code_may_be_written_otherwise(told, word):
    assert told(word)[1].startswith("LMR305: ")


def test_a_word_of_health_is_told_with_what_to_do(told):
    code, out, _ = told("Connection_Refused")
    assert code == 0
    assert out == (
        "connection_refused (of health): a server of which this is found is told to be down\n"
        "  help: start the server, or correct providers.ID.endpoint\n"
    )


def test_a_word_of_both_is_told_of_both(told):
    both = json.loads(told("timeout", "LMR501", "--json")[1])
    assert [(each["code"], each.get("of")) for each in both] == [
        ("timeout", "health"), ("timeout", "calls"), ("LMR501", None),
    ]  # fmt: skip


@pytest.mark.parametrize("word", sorted({*ErrorCode, *Failure, "no_candidate", "cancelled"}))
def test_every_word_of_errorcode_is_explained(told, word):
    code, out, _ = told(word)
    assert code == 0
    assert out.startswith(f"{word} (of ")
    assert "{" not in out


def test_several_codes(told):
    out = told("305", "306")[1]

    assert "LMR305: " in out
    assert "\nLMR306: " in out


def test_what_only_servers_show_has_no_example(told):
    code, out, _ = told("LMR501")

    assert code == 0
    assert out.startswith("LMR501: a server is down or cannot be reached (error or warning)\n")
    assert "lmroute validate --live" in out
    assert "Bad:" not in out


@pytest.mark.parametrize(
    ("word", "advice"),
    [("LMR104", "did you mean 'LMR"), ("LRM102", "did you mean 'LMR102'?"), ("x", "'lmroute explain' lists them")],
)
def test_an_unknown_code_is_2(told, word, advice):
    code, out, err = told("LMR102", word)

    assert (code, out) == (2, "")
    assert err.startswith(f"there is no code '{word}'\n  help: {advice}")


def test_json_tells_the_same(told):
    code, out, _ = told("--json", "305", "LMR501")

    mine, live = json.loads(out)
    assert code == 0
    assert (mine["code"], mine["severity"], mine["summary"]) == ("LMR305", "error", RULES["LMR305"].summary)
    assert mine["why"] == RULES["LMR305"].why
    assert mine["bad"]["command"] == "lmroute validate 'provider=[]'"
    assert "LMR305" in mine["bad"]["prints"]
    assert mine["good"]["prints"].startswith("all good")
    assert (live["bad"], live["good"]) == (None, None)


def test_json_of_the_table(told):
    rows = json.loads(told("--json")[1])

    assert [row["code"] for row in rows] == list(RULES)
    assert all(set(row) == {"code", "severity", "summary"} for row in rows)


@pytest.mark.parametrize("home", [None, "somewhere"])
def test_nothing_of_the_process_is_changed(told, monkeypatch, tmp_path, home):
    monkeypatch.chdir(tmp_path)
    if home:
        monkeypatch.setenv("LMROUTE_CONFIG_HOME", home)
    else:
        monkeypatch.delenv("LMROUTE_CONFIG_HOME", raising=False)
    before = dict(os.environ)

    told("LMR102", "LMR305")

    assert dict(os.environ) == before
    assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_files_of_ones_own_have_no_part_in_it(told, monkeypatch, tmp_path):
    broken = tmp_path / "conf" / "provider" / "mine.yaml"
    broken.parent.mkdir(parents=True)
    broken.write_text("{", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(tmp_path / "conf"))

    assert "LMR001" not in told("LMR102")[1]
