"""What holds of any report: documents keep to their schemas, workflow commands read back, secrets are not shown."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft202012Validator

from lmroute.config.schema import schema
from lmroute.diagnostics import Diagnostic, Location, Related, Report, Severity
from lmroute.validate.reporters import REPORTERS, github, render
from lmroute.validate.reporters.presentable import presentable, printable
from lmroute.validate.reporters.words import asides, subject
from lmroute.validate.table import RULES

PUBLIC = Path(__file__).parents[1] / "public_schemas"
SARIF = Draft4Validator(json.loads((PUBLIC / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8")))
JUNIT = xmlschema.XMLSchema(PUBLIC / "junit-4.xsd")
OURS = Draft202012Validator(schema("report.schema.json"))

texts = st.text(max_size=20) | st.sampled_from(
    ["a, b: c%0A", "::error::", "<b>&\"'", "]]>", "\n\r\t", "\ud800", "|`*_"]
)
words = texts.filter(bool)
numbers = st.integers(1, 10**6)
places = st.one_of(
    st.builds(Location, st.sampled_from(["conf/a b.yaml", "/elsewhere/x.yaml", "../up.yaml", "ä%,:.yaml"]) | words,
              numbers, numbers, end_line=numbers, end_column=numbers),
    st.builds(Location, st.sampled_from(["conf", "conf/a.yaml", "<config>"])),
    st.builds(Location, st.just("<command line>"), override=words),
)  # fmt: skip
findings = st.builds(
    Diagnostic,
    st.sampled_from(sorted(RULES)), words, places, texts, texts, st.sampled_from(Severity),
    st.lists(st.builds(Related, texts, places), max_size=2).map(tuple),
    st.none() | st.lists(words, max_size=3).map(tuple),
)  # fmt: skip
reports = st.builds(
    Report,
    st.lists(findings, max_size=4).map(tuple),
    st.dictionaries(st.sampled_from(["files", "compositions", "servers"]), st.integers(0, 99)),
)


@given(reports)
def test_json_keeps_to_its_schema_and_says_all(report):
    found = json.loads(render("json", report))

    OURS.validate(found)
    assert found["error_count"] + found["warning_count"] == len(found["diagnostics"]) == len(report.diagnostics)
    assert found["valid"] is (found["error_count"] == 0)
    assert found["checked"] == report.checked
    for shown, finding in zip(found["diagnostics"], presentable(report).diagnostics, strict=True):
        assert (shown["code"], shown["severity"]) == (finding.code, finding.severity)
        assert (shown["message"], shown["key"] or "", shown["help"] or "") == (
            finding.message, finding.key, finding.help
        )  # fmt: skip
        assert len(shown["related"]) == len(finding.related)


@settings(max_examples=40)  # its schema is large
@given(reports)
def test_sarif_keeps_to_its_public_schema_and_says_all(report):
    found = json.loads(render("sarif", report))

    assert list(SARIF.iter_errors(found)) == []
    (run,) = found["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result, finding in zip(run["results"], presentable(report).diagnostics, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.code
        assert result["level"] == finding.severity
        assert result["message"]["text"].startswith(subject(finding))
        assert bool(result["locations"]) is (
            not finding.location.override and not finding.location.file.startswith("<")
        )
        assert len(result["relatedLocations"]) == len(finding.related)
    prints = [tuple(result["partialFingerprints"].items()) for result in run["results"]]
    assert len(set(prints)) == len(prints)


@given(reports)
def test_junit_keeps_to_its_public_schema_and_says_all(report):
    text = render("junit", report)

    JUNIT.validate(text)
    root = ET.fromstring(text.encode())
    assert len(root.findall(".//failure")) == len(report.diagnostics) == int(root.get("failures"))
    assert len(root.findall(".//testcase")) == int(root.get("tests"))
    assert {suite.get("name") for suite in root} >= {
        f"lmroute validate: {kind}" for kind in ("files", "compositions") if report.checked.get(kind)
    }
    for suite in root:
        assert len(suite.findall("testcase")) == int(suite.get("tests")) >= 1


COMMAND = re.compile(r"::(?P<command>[a-z]+)(?: (?P<properties>.*?))?::(?P<data>.*)", re.DOTALL)


def parse(line):
    """A workflow command, read as GitHub's runner reads it."""
    command = COMMAND.fullmatch(line)
    pairs = (pair.split("=", 1) for pair in command["properties"].split(","))
    unescape = {"%25": "%", "%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ","}

    def plain(text):
        return re.sub("|".join(unescape), lambda found: unescape[found[0]], text)

    return command["command"], {name: plain(value) for name, value in pairs}, plain(command["data"])


@given(reports)
def test_workflow_commands_can_be_read_back(report):
    *lines, _, end = render("github", report).split("\n")

    assert end == ""
    for line, finding in zip(lines, presentable(report).diagnostics, strict=True):
        command, properties, data = parse(line)
        message = "\n".join([subject(finding), *asides(finding)])
        assert command == finding.severity
        assert properties["title"] == finding.code
        assert data == (message if "file" in properties else f"{finding.location}: {message}")
        if "col" in properties and finding.location.end_line:
            assert finding.location.end_line <= finding.location.line


@given(texts, texts)
def test_any_text_survives_a_workflow_command(value, data):
    """Unescaped texts too, which the reporter never gets to see."""
    line = f"::error title={github._property(value)}::{github._data(data)}"

    assert "\n" not in line
    assert "\r" not in line
    assert parse(line) == ("error", {"title": value}, data)


@given(reports)
def test_a_row_of_the_summary_is_one_line_of_five_bars(report):
    rows = [line for line in github.markdown(presentable(report)).split("\n") if line.startswith("| ")][1:]

    assert len(rows) == len(report.diagnostics)
    assert all(row.count("|") == 5 for row in rows)
    assert not any(re.search(r"<(?!br>|code>|/code>)", row) for row in rows)


secrets = st.from_regex(r"[a-zA-Z0-9]{12,24}", fullmatch=True)
carriers = st.sampled_from(
    [
        "providers.x.auth_token={}", "+providers.x.api_key={}", "providers.x={{auth_token: {}}}", "a=Bearer {}",
        "providers.x.endpoint=http://me:{}@host", "a.b=sk-{}", "~x.token={}",
    ]
)  # fmt: skip
lines = st.sampled_from(
    [
        "auth_token: {}", "auth_token:\n  {}", "x: {{token: {}, y: 1}}", "api_key: >\n  {}\n  {}", "note: sk-{}",
        "endpoint: http://me:{}@host", "- password: {}", "'secret': '{}'", "auth_token: {{env: {}}}",
        "auth_token:\n- {}", "auth_token: [\n{}\n]",
    ]
)  # fmt: skip


@pytest.mark.parametrize("name", REPORTERS)
@settings(max_examples=50)
@given(secret=secrets, carrier=carriers, line=lines, at=st.integers(1, 5))
def test_no_format_shows_a_secret(tmp_path_factory, name, secret, *, carrier, line, at):
    file = tmp_path_factory.mktemp("secret") / "mine.yaml"
    file.write_text(f"id: mine\n{line.format(secret, secret)}\nid: x\n", encoding="utf-8")
    override = carrier.format(secret)
    place = Location("<command line>", override=override)
    quoting = f"cannot read {override.partition('=')[2]}"
    report = Report(
        (
            Diagnostic("LMR102", "unknown key", Location(str(file), at, 1), overrides=(override, "seed=1")),
            Diagnostic("LMR201", quoting, place, help=quoting, overrides=(override,),
                       related=(Related(quoting, place),)),
        )
    )  # fmt: skip

    assert secret not in render(name, report)
    assert secret not in github.markdown(presentable(report))


@given(reports)
def test_to_make_a_report_presentable_twice_changes_nothing(report):
    assert presentable(presentable(report)) == presentable(report)


@given(st.text())
def test_what_is_printable_is_left_alone(text):
    assert printable(text).isprintable()
    assert not text.isprintable() or printable(text) == text


@given(findings, st.integers(1, 50))
def test_a_fingerprint_does_not_change_with_the_line(finding, lines):
    place = finding.location
    if not place.line:
        return
    moved = replace(finding, location=replace(place, line=place.line + lines, end_line=place.end_line + lines))

    assert fingerprint(moved) == fingerprint(finding)
    assert fingerprint(replace(finding, message=finding.message + "x")) != fingerprint(finding)


def fingerprint(finding):
    return json.loads(render("sarif", Report((finding,))))["runs"][0]["results"][0]["partialFingerprints"]
