"""What CI systems read: where files stand in the repository, and what each system makes of a report."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from lmroute.diagnostics import Diagnostic, Location, Related, Report, Severity
from lmroute.validate.reporters import github, render
from lmroute.validate.table import RULES

FILE = "conf/provider/mine.yaml"
FOUND = Diagnostic(
    "LMR102", "unknown key", Location(FILE, 7, 1, end_line=7, end_column=11), "providers.mine.temprature",
    "did you mean 'temperature'?", related=(Related("the first one", Location(FILE, 3, 5)),),
)  # fmt: skip
TYPED = Diagnostic(
    "LMR201", "there is no provider 'olama'", Location("<command line>", override="provider=olama"), "provider",
    overrides=("provider=olama", "task.data=a b.csv"),
)  # fmt: skip
WARNED = Diagnostic("LMR309", "the same candidate", Location(FILE, 9, 3), severity=Severity.WARNING, overrides=())


def commands(*findings):
    return render("github", Report(findings)).splitlines()[:-1]


def results(*findings):
    return json.loads(render("sarif", Report(findings)))["runs"][0]["results"]


def uri(finding):
    (place,) = results(finding)[0]["locations"]
    return place["physicalLocation"]["artifactLocation"]["uri"]


def test_a_finding_is_a_workflow_command(here):
    assert commands(FOUND, TYPED, WARNED) == [
        (
            "::error file=conf/provider/mine.yaml,line=7,col=1,endLine=7,endColumn=11,title=LMR102"
            "::providers.mine.temprature: unknown key%0Anote: the first one (conf/provider/mine.yaml:3:5)"
            "%0Ahelp: did you mean 'temperature'?"
        ),
        "::error title=LMR201::<command line> provider=olama: provider: there is no provider 'olama'",
        "::warning file=conf/provider/mine.yaml,line=9,col=3,title=LMR309::the same candidate",
    ]


def test_the_last_line_is_the_summary(here):
    report = Report((FOUND, WARNED), {"files": 2})

    assert render("github", report).splitlines()[-1] == "1 error, 1 warning in 2 files"


def test_what_spans_lines_has_no_columns_for_github_takes_none(here):
    spanning = replace(FOUND, location=Location(FILE, 7, 3, end_line=9, end_column=2))

    assert commands(spanning)[0].startswith("::error file=conf/provider/mine.yaml,line=7,endLine=9,title=LMR102::")


def test_a_place_without_a_line_is_the_file_and_a_folder_is_no_file(here):
    (here / "conf").mkdir()

    assert commands(replace(FOUND, location=Location("conf/x.yaml")))[0].startswith("::error file=conf/x.yaml,title=")
    assert commands(replace(TYPED, location=Location("conf")))[0].startswith("::error title=LMR201::conf: ")


@pytest.mark.parametrize("by", ["git", "GITHUB_WORKSPACE"])
def test_paths_begin_at_the_root_of_the_repository(here, monkeypatch, by):
    below = here / "services" / "chat"
    below.mkdir(parents=True)
    if by == "git":
        (here / ".git").mkdir()
    else:
        monkeypatch.setenv(by, str(here))
    monkeypatch.chdir(below)

    assert commands(FOUND)[0].startswith(f"::error file=services/chat/{FILE},")
    assert uri(FOUND) == f"services/chat/{FILE}"


def test_a_workspace_reached_by_a_link_is_the_same_workspace(here, monkeypatch):
    link = here.parent / "link"
    try:
        link.symlink_to(here, target_is_directory=True)
    except OSError:
        pytest.skip("no links on this machine")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(link))

    assert commands(FOUND)[0].startswith(f"::error file={FILE},")


def test_a_file_elsewhere_is_named_in_the_message(here):
    elsewhere = here.parent / "home" / "provider" / "my own.yaml"
    finding = replace(FOUND, location=Location(str(elsewhere), 7, 1))

    assert commands(finding)[0].startswith(f"::error title=LMR102::{elsewhere}:7:1: providers.mine.temprature: ")
    assert uri(finding) == elsewhere.as_uri()
    assert uri(finding).endswith("/my%20own.yaml")


def test_an_address_is_quoted(here):
    assert uri(replace(FOUND, location=Location("conf/my 100%#1.yaml", 1, 1))) == "conf/my%20100%25%231.yaml"


def test_a_file_up_the_tree_but_in_the_repository_is_found(here, monkeypatch):
    (here / ".git").mkdir()
    (here / "app").mkdir()
    monkeypatch.chdir(here / "app")

    assert uri(replace(FOUND, location=Location("../conf/mine.yaml", 1, 1))) == "conf/mine.yaml"


def test_the_job_summary_is_appended_to(here, monkeypatch):
    page = here / "summary.md"
    page.write_text("before\n", encoding="utf-8")
    github.append_summary(Report((FOUND,), {"files": 2}))
    assert page.read_text(encoding="utf-8") == "before\n"  # there is no job

    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    github.append_summary(Report((FOUND, TYPED), {"files": 2}))
    github.append_summary(Report((), {"files": 3}))

    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n### lmroute validate\n\n2 errors in 2 files\n\n| | Where | What | Again |\n")
    assert (
        "| error LMR102 | conf/provider/mine.yaml&#58;7&#58;1 | providers.mine.temprature&#58; unknown key<br>" in text
    )
    assert "<code>lmroute validate provider=olama 'task.data=a b.csv'</code>" in text
    assert text.endswith("### lmroute validate\n\nall good: checked 3 files\n\n")


def test_a_long_job_summary_is_cut(here):
    text = github.markdown(Report(tuple(replace(FOUND, key=f"k{n}") for n in range(250))))

    assert text.count("| error ") == 200
    assert "\nand 50 more\n" in text


def test_sarif_tells_the_rules(here):
    (run,) = json.loads(render("sarif", Report()))["runs"]
    driver = run["tool"]["driver"]

    assert [rule["id"] for rule in driver["rules"]] == list(RULES)
    rule = next(rule for rule in driver["rules"] if rule["id"] == "LMR309")
    assert rule["defaultConfiguration"] == {"level": "warning"}
    assert rule["fullDescription"]["text"] == RULES["LMR309"].why
    assert "lmroute explain LMR309" in rule["help"]["text"]
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["results"] == []


def test_sarif_tells_the_place_the_related_places_and_how_to_see_it_again(here):
    in_file, typed = results(FOUND, TYPED)

    assert in_file["locations"][0]["physicalLocation"]["region"] == {
        "startLine": 7, "startColumn": 1, "endLine": 7, "endColumn": 11
    }  # fmt: skip
    (related,) = in_file["relatedLocations"]
    assert related["message"]["text"] == "the first one (conf/provider/mine.yaml:3:5)"
    assert related["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 5}
    assert in_file["properties"]["reproduce"] == "lmroute validate --files-only"
    assert typed["locations"] == []
    assert typed["properties"]["reproduce"] == "lmroute validate provider=olama 'task.data=a b.csv'"


def test_the_same_mistake_twice_in_a_file_is_two_results(here):
    twice = [FOUND, replace(FOUND, location=Location(FILE, 20, 1))]
    first, second = (next(iter(one["partialFingerprints"].values())) for one in results(*twice))

    assert first != second
    assert first.partition(":")[0] == second.partition(":")[0]


def test_fingerprints_are_the_same_from_any_folder_of_the_repository(here, monkeypatch):
    (here / ".git").mkdir()
    from_root = results(FOUND)[0]["partialFingerprints"]
    (here / "conf").mkdir()
    monkeypatch.chdir(here / "conf")
    from_below = results(replace(FOUND, location=Location("provider/mine.yaml", 7, 1)))[0]["partialFingerprints"]

    assert from_root == from_below


def test_junit_has_a_suite_a_kind(here):
    root = ET.fromstring(render("junit", Report((FOUND, TYPED, WARNED), {"files": 3, "compositions": 2})))
    files, compositions = root

    assert (root.get("tests"), root.get("failures")) == ("3", "3")
    assert (files.get("name"), files.get("tests"), files.get("failures")) == ("lmroute validate: files", "1", "1")
    assert [case.get("name") for case in compositions.iter("testcase")] == ["LMR201 provider", "LMR309"]
    assert [case.get("classname") for case in compositions.iter("testcase")] == ["provider=olama", FILE]
    assert [one.get("type") for one in compositions.iter("failure")] == ["error", "warning"]
    failure = files.find("testcase/failure")
    assert failure.get("message") == "unknown key"
    assert failure.text.splitlines() == [
        "conf/provider/mine.yaml:7:1: providers.mine.temprature: unknown key",
        "note: the first one (conf/provider/mine.yaml:3:5)",
        "help: did you mean 'temperature'?",
        "again: lmroute validate --files-only",
    ]
    assert files.find("properties/property").attrib == {"name": "checked", "value": "3"}


def test_junit_without_findings_has_cases_that_passed(here):
    root = ET.fromstring(render("junit", Report((), {"files": 3, "compositions": 0})))

    assert [case.get("classname") for case in root.iter("testcase")] == ["lmroute.files"]
    assert (root.get("tests"), root.get("failures")) == ("1", "0")


def test_json_of_a_finding(here):
    found = json.loads(render("json", Report((TYPED,), {"files": 1})))

    assert found == {
        "format_version": "1.0", "valid": False, "error_count": 1, "warning_count": 0, "checked": {"files": 1},
        "diagnostics": [{
            "code": "LMR201", "severity": "error", "message": "there is no provider 'olama'", "key": "provider",
            "location": {"file": None, "line": None, "column": None, "end_line": None, "end_column": None,
                         "override": "provider=olama"},
            "help": None, "related": [],
            "reproduce": "lmroute validate provider=olama 'task.data=a b.csv'",
        }],
    }  # fmt: skip


def test_a_warning_leaves_a_report_valid(here):
    found = json.loads(render("json", Report((WARNED,))))

    assert (found["valid"], found["error_count"], found["warning_count"]) == (True, 0, 1)
    assert found["diagnostics"][0]["reproduce"] == "lmroute validate"
