"""The v1 corpus: a file that was right stays right, a mistake stays found where it is.

``valid/<group>/*.yaml`` are accepted; beside each ``invalid/<group>/*.yaml`` a text names place, code and key of every
finding. Files are only ever added.
"""

import pytest

from lmroute.config.schema import schema, validator

from .corpus import ROOT, document, files, findings, group_of, shipped_files, summary

NAMES = ("adapter", "config", "health", "policy_test", "provider", "routing", "task", "telemetry")
STRICT = {name: schema(f"{name}.schema.json") for name in NAMES}


@pytest.mark.parametrize("file", [*files("valid"), *shipped_files()])
def test_a_valid_file_has_no_finding(file):
    assert findings(file) == []


@pytest.mark.parametrize("file", files("invalid"))
def test_an_invalid_file_has_the_findings_beside_it(file):
    expected = file.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    assert [summary(finding) for finding in findings(file)] == expected


@pytest.mark.parametrize("file", files("invalid"))
def test_a_finding_never_shows_a_secret(file):
    assert "hunter2" not in str(findings(file))


def complete_files():
    """The valid files that nothing completes later: no interpolation, nothing left open, nothing built on."""
    return [file for parameter in files("valid") for file in parameter.values if is_complete(file)]


def is_complete(file):
    content, group = document(file), group_of(file)
    asked = STRICT.get(group, {}).get("required", ["defaults"])  # an experiment never stands alone
    return set(asked) <= content.keys() and not any(sign in str(content) for sign in ("defaults", "${", "???"))


@pytest.mark.parametrize("file", complete_files(), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_what_is_written_out_in_full_keeps_to_the_strict_schema_too(file):
    assert list(validator(f"{group_of(file)}.schema.json").iter_errors(document(file))) == []


def test_there_are_twenty_files_of_each_kind():
    assert len(files("valid")) >= 20
    assert len(files("invalid")) >= 20


def test_nothing_lies_beside_the_corpus():
    """A stray file would be one that no test reads."""
    groups = {file.parent.name for file in (*ROOT.glob("valid/*/*"), *ROOT.glob("invalid/*/*"))}
    assert groups == {*STRICT, "experiment"}
    expected = {file.with_suffix(".txt") for file in ROOT.glob("invalid/*/*.yaml")}
    assert set(ROOT.rglob("*.txt")) == expected


def test_every_property_of_every_schema_occurs_in_a_valid_file():
    written = {
        place
        for parameter in files("valid")
        for file in parameter.values
        for place in written_in(document(file), *start(group_of(file)))
    }
    declared = {place for home, node in STRICT.items() for place in declared_in(node, home)}
    assert declared - written == set()


def start(group):
    name = "config" if group == "experiment" else group
    return STRICT[name], name


def declared_in(node, home):
    """Every property that a schema file describes, by its file, the mapping that has it, and its name."""
    for key, part in node.get("properties", {}).items():
        yield home, id(node), key
        yield from declared_in(part, home)
    for part in node.get("$defs", {}).values():
        yield from declared_in(part, home)
    for keyword in ("items", "additionalProperties"):
        if isinstance(node.get(keyword), dict):
            yield from declared_in(node[keyword], home)


def written_in(value, node, home):
    """The properties, as ``declared_in`` names them, that a value has."""
    node, home = followed(node, home)
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in node.get("properties", {}):
                yield home, id(node), key
                yield from written_in(inner, node["properties"][key], home)
            elif isinstance(node.get("additionalProperties"), dict):
                yield from written_in(inner, node["additionalProperties"], home)
    elif isinstance(value, list):
        for inner in value:
            yield from written_in(inner, node.get("items", {}), home)


def followed(node, home):
    while "$ref" in node:
        file, _, pointer = node["$ref"].partition("#")
        home = file.removesuffix(".schema.json") or home
        node = STRICT[home]
        for step in pointer.split("/")[1:]:
            node = node[step]
    return node, home
