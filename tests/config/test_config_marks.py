import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lmroute.config.text import yaml11
from lmroute.config.text.marks import marks
from lmroute.diagnostics import Location

WORDS = st.from_regex(r"k[a-z]{0,6}", fullmatch=True)
ANY_KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=5)


def documents(keys):
    leaves = st.integers(0, 99) | st.booleans() | st.none() | st.text(max_size=8)
    return st.dictionaries(
        keys,
        st.recursive(
            leaves,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
            max_leaves=12,
        ),
        min_size=1,
        max_size=4,
    )


def paths(node, path=()):
    yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from paths(value, (*path, str(key)))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from paths(value, (*path, str(index)))


def at(node, path):
    for step in path:
        node = node[int(step)] if isinstance(node, list) else node[step]
    return node


@given(documents(ANY_KEYS), st.booleans())
def test_every_path_of_a_document_has_a_mark(document, flow):
    text = yaml.safe_dump(document, allow_unicode=True, default_flow_style=flow)
    assert set(marks(text, "f")) == set(paths(yaml11.read(text).document))  # to Hydra, 0E0 is a number


@given(documents(WORDS), st.booleans())
def test_a_mark_points_at_the_text_of_its_key_and_its_value(document, flow):
    text = yaml.safe_dump(document, default_flow_style=flow)
    lines = text.splitlines()
    for path, mark in marks(text, "f").items():
        if path and isinstance(at(document, path[:-1]), dict):
            assert lines[mark.key.line - 1][mark.key.column - 1 :].startswith(path[-1])
        value = at(document, path)
        if type(value) is int:
            assert lines[mark.value.line - 1][mark.value.column - 1 :].startswith(str(value))


def test_lines_and_columns_count_from_one():
    found = marks("a:\n  b: 1\n  c:\n  - x\n  - {d: 2}\n", "f.yaml")
    assert found[()].key == Location("f.yaml", 1, 1)
    assert found["a", "b"].key == Location("f.yaml", 2, 3)
    assert found["a", "b"].value == Location("f.yaml", 2, 6)
    assert found["a", "c", "1"].key == found["a", "c", "1"].value == Location("f.yaml", 5, 5)
    assert found["a", "c", "1", "d"].value == Location("f.yaml", 5, 9)


def test_the_whole_file_begins_at_its_first_line_whatever_comments_it_has():
    assert marks("# @package _global_\n\na: 1\n", "f")[()].key == Location("f", 1, 1)


def test_an_empty_file_has_no_marks():
    assert marks("", "f") == marks("# only a comment\n", "f") == {}


def test_an_alias_points_at_what_it_repeats():
    found = marks("base: &b {x: 1}\nother: *b\n", "f")
    assert found["other", "x"] == found["base", "x"]


def test_merged_keys_are_marked_where_they_are_written_and_own_keys_win():
    text = "one: &one {x: 1, y: 1}\ntwo: &two {x: 2, z: 2}\nboth:\n  <<: [*one, *two]\n  y: 3\n"
    found = marks(text, "f")
    assert {path[1] for path in found if path[:1] == ("both",) and len(path) == 2} == {"x", "y", "z"}
    loaded = yaml.safe_load(text)["both"]
    assert {key: found["both", key].value.line for key in loaded} == {"x": 1, "y": 5, "z": 2}
    assert loaded == {"x": 1, "y": 3, "z": 2}


def test_an_alias_to_what_contains_it_is_refused():
    with pytest.raises(yaml.YAMLError):
        marks("a: &a\n  b: *a\n", "f")


def test_text_that_is_no_yaml_is_refused():
    with pytest.raises(yaml.YAMLError):
        marks("a: [1", "f")


@pytest.mark.parametrize(
    ("text", "path", "end"),
    [
        ("a: bcd  # note\n", ("a",), (1, 7)),
        ('a: "b c"\n', ("a",), (1, 9)),
        ("a: [b,\n  c]\n", ("a",), (2, 5)),
        ("a:\n  b: cd\n  e: f\n", ("a",), (2, 8)),
        ("a:\n  b:\n    c: d\n", ("a",), (2, 4)),
        ("a:\n  - b: cd\n    e: f\n  - g\n", ("a",), (2, 10)),
        ("a:\n", ("a",), (1, 3)),
        ("x: &x {b: 1}\na:\n  <<: *x\n  c: d\n", ("a",), (3, 5)),
    ],
)
def test_where_a_value_ends(text, path, end):
    """Block style ends where nobody would look: its first line stands for it."""
    place = marks(text, "f")[path].value
    assert (place.end_line, place.end_column) == end


@given(documents(ANY_KEYS), st.booleans())
def test_every_place_ends_where_it_begins_or_later(document, flow):
    text = yaml.safe_dump(document, allow_unicode=True, default_flow_style=flow)
    for mark in marks(text, "f").values():
        for place in (mark.key, mark.value):
            if place.end_line:
                assert (place.line, place.column) <= (place.end_line, place.end_column)
