"""Comments that ask for silence: what they suppress, and what they may not."""

import pytest

from lmroute.diagnostics import Diagnostic, Location
from lmroute.validate import files
from lmroute.validate.pipeline import stamped
from lmroute.validate.suppressions import OF_FILES, apply

HEAD = "name: mine\nrules: [{name: a, use: [embedded]}]\n"


@pytest.fixture
def said(tmp_path, monkeypatch):
    """What is left to say of a policy: ``line:column code message`` of each finding."""
    monkeypatch.chdir(tmp_path)

    def look(text, *more, **options):
        path = tmp_path / "routing" / "mine.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        file = files.File(tmp_path, path, own=True)
        found = apply([*files.check(file), *map(stamped, more)], [file], **options)
        return [f"{f.location.line}:{f.location.column} {f.code} {f.message}" for f in found]

    return look


@pytest.mark.parametrize(
    "text",
    [
        "description: 0o14  # lmroute: ignore[LMR003]\n",
        "# lmroute: ignore[LMR003]\ndescription: 0o14\n",
        "# lmroute: ignore[LMR003] the editor is told otherwise\n# and a note\n\ndescription: 0o14\n",
        "description: 0o14  # a note  # lmroute: ignore[ LMR003 ]\n",
        "description: 0o14  #lmroute:ignore[LMR003,LMR003]\n",
        "description: 0o14\n# lmroute: ignore-file[LMR003]\n",
        "description: 0o14\r\n# lmroute: ignore-file[LMR003]\r\n",
    ],
)
def test_a_comment_suppresses(text, said):
    assert said(HEAD + text) == []


def test_without_the_comment_there_is_something_to_suppress(said):
    assert [line[:11] for line in said(HEAD + "description: 0o14\n")] == ["3:14 LMR003"]


def test_a_comment_speaks_for_one_line(said):
    text = "# lmroute: ignore[LMR003]\ndescription: 0o14\nyes: on\n"
    assert {line[:4] for line in said(HEAD + text) if "LMR003" in line} == {"5:1 ", "5:6 "}


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("description: off1  # lmroute: ignore[LMR003]\n", "3:20", "there is no LMR003 on line 3 to ignore"),
        ("# lmroute: ignore[LMR003]\ndescription: x\n", "3:1", "there is no LMR003 on line 4 to ignore"),
        ("# lmroute: ignore-file[LMR004]\n", "3:1", "there is no LMR004 in this file to ignore"),
        ("# lmroute: ignore[LMR101]\n", "3:1", "LMR101 is an error and cannot be ignored"),
        ("# lmroute: ignore[LMR999]\n", "3:1", "there is no rule LMR999"),
        ("# lmroute: ignore[hunter2hunter2]\n", "3:1", "there is no rule of this name"),
        ("# lmroute: ignore[LMR006]\n", "3:1", "LMR006 cannot be ignored"),
        ("# lmroute: ignore\n", "3:1", "this comment suppresses nothing"),
        ("# lmroute: ignore[]\n", "3:1", "this comment suppresses nothing"),
        ("# lmroute: ignore LMR003\n", "3:1", "this comment suppresses nothing"),
        ("# lmroute: ignroe[LMR003]\n", "3:1", "this comment suppresses nothing"),
        ("# lmroute: noqa LMR003\n", "3:1", "this comment suppresses nothing"),
    ],
)
def test_a_comment_that_is_no_use_is_a_finding(text, place, message, said):
    assert said(HEAD + text) == [f"{place} LMR006 {message}"]


def test_each_code_of_a_comment_is_judged_by_itself(said):
    text = "description: 0o14  # lmroute: ignore[LMR003, LMR004, LMR102]\n"
    assert said(HEAD + text) == [
        "3:20 LMR006 LMR102 is an error and cannot be ignored",
        "3:20 LMR006 there is no LMR004 on line 3 to ignore",
    ]


@pytest.mark.parametrize(
    "text",
    [
        'description: "# lmroute: ignore[LMR003]"\n',
        "description: '\n  # lmroute: ignore[LMR003]'\n",
        "description: |\n  # lmroute: ignore[LMR003]\n  text\n",
        "description: a#lmroute: ignore[LMR003]\n".replace(": i", ":i"),
        "# lmroute: see the README\n",
    ],
)
def test_what_is_no_comment_of_ours(text, said):
    assert said(HEAD + text) == []


def test_the_line_that_begins_a_block_may_have_one(said):
    assert said(HEAD + "description: |  # lmroute: ignore[LMR003]\n  text\n") == [
        "3:17 LMR006 there is no LMR003 on line 3 to ignore"
    ]


def test_an_error_is_never_suppressed(said):
    assert said(HEAD + "nmae: x  # lmroute: ignore[LMR102]\n") == [
        "3:1 LMR102 unknown key",
        "3:10 LMR006 LMR102 is an error and cannot be ignored",
    ]


def test_a_file_that_cannot_be_read_has_no_needless_comment(said):
    assert [line.split()[1] for line in said("# lmroute: ignore-file[LMR003]\n" + HEAD + "a: [\n")] == ["LMR001"]


def test_a_rule_that_this_run_does_not_evaluate_has_no_needless_comment(said):
    text = HEAD + "# lmroute: ignore-file[LMR304, LMR401]\n"
    assert said(text) == []
    assert said(text, evaluated={*OF_FILES, "LMR304", "LMR401"}) == [
        "3:1 LMR006 there is no LMR304 in this file to ignore"
    ]
    assert said(HEAD + "# lmroute: ignore-file[LMR003]\n", evaluated=OF_FILES - {"LMR003"}) == []


def test_what_a_composition_finds_is_suppressed_where_it_stands(said):
    finding = Diagnostic("LMR304", "no rule can choose this", Location("routing/mine.yaml", 2, 1), "providers.x")
    elsewhere = Diagnostic("LMR304", "no rule can choose this", Location("routing/yours.yaml", 2, 1), "providers.x")
    text = HEAD.replace("}]\n", "}]  # lmroute: ignore[LMR304]\n")
    assert said(text, finding) == []
    assert said(text, elsewhere) == ["2:1 LMR304 no rule can choose this"]
