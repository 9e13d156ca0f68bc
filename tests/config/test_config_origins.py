"""Where composed values come from: whatever is layered how, the located place holds the value that won."""

import os
import re
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lmroute.config.compose import compose
from lmroute.config.history import history
from lmroute.config.interpolation import origin, references, target
from lmroute.config.keypaths import at
from lmroute.errors import ConfigError

NAMES = st.sampled_from("abcd")
LEAVES = st.integers(1000, 9999) | st.sampled_from(["${seed}", "${task.shared}", "${task.shared.p}", "${.a}"])
TREES = st.recursive(
    LEAVES | st.lists(st.integers(1000, 9999), max_size=3),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
MAPPINGS = st.dictionaries(NAMES, TREES, max_size=4)
KEYS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: "task." + ".".join(names))
OVERRIDES = st.one_of(
    st.builds("++{}={}".format, KEYS, st.integers(1000, 9999)),
    st.builds("++{}=[{},{}]".format, KEYS, st.integers(1000, 9999), st.integers(1000, 9999)),
    st.builds("++{}={{a: {}}}".format, KEYS, st.integers(1000, 9999)),
    st.builds("{}.0={}".format, KEYS, st.integers(1000, 9999)),
    st.builds("++{}=${{task.shared}}".format, KEYS),
    KEYS.map("~{}".format),
)
SHARED = {"shared": {"p": 1111, "q": [2222, 3333]}}


def dumped(document: dict, flow: bool | None) -> str:
    return yaml.safe_dump(document, default_flow_style=flow, sort_keys=False)


def leaves(node, path=()):
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if items is None:
        yield path, node
    for key, value in items or ():
        yield from leaves(value, (*path, str(key)))


def text_at(place) -> str:
    if place.override:
        return place.override.partition("=")[2]
    return Path(place.file).read_text(encoding="utf-8").splitlines()[place.line - 1][place.column - 1 :]


def holds(place, value) -> bool:
    """Whether a place holds a value."""
    text = text_at(place)
    if place.override:
        return str(value) in text
    found = re.match(r"""['"]?(\$\{[^}]*\}|[\w.]+)""", text)
    return found is not None and found[1] == str(value)


@pytest.fixture(scope="module")
def home():
    """A configuration folder that lives as long as the module: Hypothesis and per-test fixtures do not mix."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], phases=list(Phase)[:3])
@given(
    group=MAPPINGS, experiment=MAPPINGS, overrides=st.lists(OVERRIDES, max_size=3),
    flow=st.sampled_from([True, False, None]),
)  # fmt: skip
def test_the_located_place_holds_the_value_that_won(home, group, experiment, overrides, flow):
    for name, text in {
        "task/mine.yaml": dumped({**SHARED, **group}, flow),
        "experiment/trial.yaml": "# @package _global_\n" + dumped({"task": experiment, "seed": 5}, flow),
    }.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")
    before = os.environ.get("LMROUTE_CONFIG_HOME")
    os.environ["LMROUTE_CONFIG_HOME"] = str(home)
    try:
        composition = compose(["task=mine", "+experiment=trial", *overrides])
    except ConfigError:
        return  # a deletion of nothing, a key in a list: said elsewhere
    finally:
        os.environ["LMROUTE_CONFIG_HOME"] = before or ""
    for path, value in leaves(composition.written["task"], ("task",)):
        place = composition.locate(path)
        if value not in ({}, []):
            assert holds(place, value), (path, value, str(place), text_at(place))


def located(overlay, key, *overrides, **files):
    folder = overlay(**files)
    place = compose(overrides).locate(tuple(key.split(".")))
    return place.override or f"{Path(place.file).relative_to(folder.name).as_posix()}:{place.line}:{place.column}"


@pytest.mark.parametrize(
    ("key", "text", "place"),
    [
        ("task.tags.0", "base: &b [x]\ntags: *b\n", "task/mine.yaml:1:11"),
        ("task.limit", "base: &b {limit: 3}\n<<: *b\n", "task/mine.yaml:1:18"),
        ("task.limit", "base: &b {limit: 3}\n<<: *b\nlimit: 4\n", "task/mine.yaml:3:8"),
        ("task.limit", "a: &a {limit: 3}\nb: &b {limit: 4}\n<<: [*a, *b]\n", "task/mine.yaml:1:15"),
        ("task.m.n", "base: &b {m: {n: 1, o: 2}}\n<<: *b\nm: {p: 1}\n", "task/mine.yaml:3:1"),
        ("task.True", "on: 1\n", "task/mine.yaml:1:5"),
        ("task.16", "0x10: 1\n", "task/mine.yaml:1:7"),
    ],
)
def test_anchors_aliases_merge_keys_and_typed_keys(overlay, key, text, place):
    assert located(overlay, key, "task=mine", task__mine=text) == place


BASE = "name: qa\ntags: [a, b]\nlimit: 1\n"


@pytest.mark.parametrize(
    ("key", "overrides", "place"),
    [
        ("task.tags.1", ["task.tags=[c,d]"], "task.tags=[c,d]"),
        ("task.tags.0", ["task.tags.0=z"], "task.tags.0=z"),
        ("task.tags.1", ["task.tags.0=z"], "task/mine.yaml:2:11"),
        ("task.tags", ["task.tags.0=z"], "task/mine.yaml:2:7"),
        ("task.limit", ["~task.limit"], "~task.limit"),
        ("task.limit", ["~task.limit", "+task.limit=3"], "+task.limit=3"),
        ("task.limit.x", ["~task.limit"], "~task.limit"),
        ("task", ["~task"], "~task"),
        ("task.limit", ["+experiment=e"], "experiment/e.yaml:4:15"),
        ("task.limit", ["+experiment=e", "task.limit=9"], "task.limit=9"),
        ("task.name", ["+experiment=e"], "task/mine.yaml:1:7"),
        ("task.name", ["task=sub"], "task/mine.yaml:1:7"),
        ("task.limit", ["task=sub"], "task/sub.yaml:3:8"),
        ("providers.backup.id", ["+provider@providers.backup=own"], "provider/own.yaml:2:5"),
        (
            "providers.own.tags.0",
            ["provider=own", "providers.own.tags=${task.tags}"],
            "providers.own.tags=${task.tags}",
        ),
    ],
)
def test_the_last_one_to_write_is_who_is_named(overlay, key, overrides, place):
    files = {
        "task__mine": BASE,
        "task__sub": "defaults:\n  - mine\nlimit: 2\n",
        "experiment__e": "# @package _global_\ndefaults:\n  - override /task: mine\ntask: {limit: 5}\n",
        "provider__own": "# @package providers.own\nid: own\ntags: [x]\n",
    }
    chosen = (
        []
        if any(word.startswith(("task=", "~task", "+exp")) and word != "~task.limit" for word in overrides)
        else ["task=mine"]
    )
    assert located(overlay, key, *chosen, *overrides, **files) == place


WRITTEN = {
    "a": 1,
    "b": "${a}",
    "chain": "${b}",
    "box": {"x": "${.y}", "y": "${..a}", "up": "${..box.y}", "list": ["${a}", "${..y}"]},
    "copy": "${box}",
    "item": "${box.list[0]}",
    "one": "${two}",
    "two": "${one}",
    "self": "${self}",
    "text": "is ${a}",
    "lost": "${nowhere}",
    "env": "${oc.env:HOME}",
    "deep": {"er": {"z": "${...a}"}},
}


@pytest.mark.parametrize(
    ("key", "leads_to"),
    [
        ("b", "a"), ("chain", "a"), ("box.x", "a"), ("box.y", "a"), ("box.up", "a"), ("box.list.0", "a"),
        ("copy.x", "a"), ("copy", "box"), ("item", "a"), ("deep.er.z", "a"), ("text", "text"), ("lost", "lost"),
        ("env", "env"), ("a", "a"), ("a.b", "a.b"), ("nothing", "nothing"),
    ],
)  # fmt: skip
def test_a_reference_is_followed_to_its_end(key, leads_to):
    assert ".".join(origin(WRITTEN, tuple(key.split(".")))) == leads_to


@pytest.mark.parametrize("key", ["one", "two", "self"])
def test_a_circle_of_references_ends(key):
    assert origin(WRITTEN, (key,))[0] in {"one", "two", "self"}


def test_all_references_of_a_text_are_found_and_only_a_whole_one_is_a_target():
    assert references("${a}-${.b}", ("x", "y")) == [("${a}", ("a",)), ("${.b}", ("x", "b"))]
    assert target("${a}-${.b}", ("x", "y")) is None
    assert target("${..c[0]}", ("x", "y", "z")) == ("x", "c", "0")
    assert at({"x": [{"y": 2}]}, ("x", "0", "y")) == 2


def test_an_override_writes_over_a_reference_and_a_deletion_through_it(overlay):
    text = "shared: {p: 1}\nd: ${task.shared}\n"
    assert located(overlay, "task.d.p", "task=mine", "++task.d.p=9", task__mine=text) == "++task.d.p=9"
    assert located(overlay, "task.shared.p", "task=mine", "++task.d.p=9", task__mine=text) == "task/mine.yaml:1:13"
    assert located(overlay, "task.shared.p", "task=mine", "~task.d.p", task__mine=text) == "~task.d.p"


@pytest.mark.parametrize(
    ("key", "merged", "overrides", "place"),
    [
        ("task.d.x.q", "d: {x: {p: 9}}", [], "task/mine.yaml:1:18"),
        ("task.d.x.q.1", "d: {x: {p: 9}}", ["task.d.x.q.0=5"], "task/mine.yaml:1:22"),
        ("task.d.x.q.1", "d: {x: {p: 9}}", ["++task.a=7"], "task/mine.yaml:1:22"),
        ("task.d.x.p", "d: {x: {p: 9}}", [], "experiment/e.yaml:2:19"),
        ("task.a.x.p", "d: {x: {p: 9}}", [], "task/mine.yaml:1:12"),
        ("task.d.x", "d: {y: 1}", ["++task.d.x.p=5"], "task/mine.yaml:1:8"),
        ("task.d.x.q", "d: {y: 1}", ["~task.d.x.p"], "task/mine.yaml:1:18"),
        ("task.d.x.p", "d: {y: 1}", ["~task.d.x.p"], "~task.d.x.p"),
        ("task.e.q", "e: {p: 9}", [], "task/mine.yaml:1:18"),
        ("task.f.q", "f: {p: 9}", [], "task/mine.yaml:1:18"),
        ("task.d.nothing", "d: {y: 1}", [], "experiment/e.yaml:2:8"),
        ("task.made.p", "made: {q: 9}", [], "experiment/e.yaml:2:8"),
    ],
)
def test_what_a_reference_brought_is_located_where_it_was_copied_from(overlay, key, merged, overrides, place):
    files = {
        "task__mine": "a: {x: {p: 1, q: [2, 3]}}\nd: ${.a}\ne: ${task.d.x}\nf: ${.e}\nmade: '${oc.create:{p: 1}}'\n",
        "experiment__e": f"# @package _global_\ntask: {{{merged}}}\n",
    }
    assert located(overlay, key, "task=mine", "+experiment=e", *overrides, **files) == place


def test_a_file_can_be_put_into_what_a_reference_brought(overlay):
    files = {"task__mine": "a: {x: {p: 1, q: 2}}\nd: ${.a}\n", "experiment__e": "# @package task.d.x\np: 9\n"}
    assert located(overlay, "task.d.x.q", "task=mine", "+experiment=e", **files) == "task/mine.yaml:1:18"
    assert located(overlay, "task.d.x.p", "task=mine", "+experiment=e", **files) == "experiment/e.yaml:2:4"


def test_a_deletion_from_what_a_resolver_makes_leaves_it_where_it_is(overlay):
    text = "made: '${oc.create:{p: 1}}'\n"
    assert located(overlay, "task.made", "task=mine", "~task.made.p", task__mine=text) == "task/mine.yaml:1:7"


def test_a_reference_that_leads_on_without_end_is_located_where_it_stands():
    assert origin({"a": "${a.b}"}, ("a",)) == ("a",)
    composition = compose(["task.limit=${task.limit.x}"])
    assert composition.locate(("task", "limit")).override == "task.limit=${task.limit.x}"
    [(_, nothing)] = history(composition, "task.limit").came_from
    assert not nothing.is_set
