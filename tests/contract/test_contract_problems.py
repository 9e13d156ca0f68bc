"""What is said of a body that breaks a schema: the place, the value, never a secret, and little of it."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.providers import contract

ROOT = Path(__file__).with_name("golden")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def golden(name):
    return json.loads((ROOT / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda m: m["loaded_instances"][0].update(id=7), "models[0].loaded_instances[0].id: 7 is not a text"),
        (lambda m: m["loaded_instances"][0].update(id=""), 'models[0].loaded_instances[0].id: "" is empty'),
        (lambda m: m.pop("key"), "models[0].key: is missing"),
        (lambda m: m.update(size_bytes=-1), "models[0].size_bytes: -1 is less than 0"),
        (lambda m: m.update(quantization="Q4"), 'models[0].quantization: "Q4" is not an object or null'),
        (lambda m: m.update(loaded_instances=None), "models[0].loaded_instances: null is not a list"),
        (lambda m: m.update(max_context_length=0.5), "models[0].max_context_length: 0.5 is not a whole number"),
    ],
)
def test_a_problem_names_the_place_and_the_value(change, line):
    body = golden("models_v1/least")
    change(body["models"][0])
    assert contract.problems("models_v1", body) == [line]


def test_another_program_is_no_lm_studio():
    assert contract.problems("greeting", {"lmstudio": False}) == ["lmstudio: false is not true"]
    assert contract.problems("greeting", []) == ["the body: [] is not an object"]


def test_a_long_value_is_cut_and_a_secret_is_masked():
    told = contract.problems("unload", {"instance_id": ["sk-lm-abcdefgh:ABCDEFGHIJ0123456789", "x" * 500]})
    (line,) = told
    assert "abcdefgh" not in line
    assert len(line) < 120


def test_many_problems_are_few_lines():
    body = golden("models_v1/least")
    body["models"] = [{} for _ in range(30)]
    told = contract.problems("models_v1", body)
    assert told[:2] == ["models[0].type: is missing", "models[0].publisher: is missing"]
    assert told[4:] == ["and 296 more"]


def test_the_order_of_a_list_is_kept():
    body = {"data": [{"id": "a", "object": "model", "owned_by": "b"} for _ in range(12)], "object": "list"}
    body["data"][2]["id"] = body["data"][10]["id"] = None
    assert [line.partition(":")[0] for line in contract.problems("models_openai", body)] == [
        "data[2].id",
        "data[10].id",
    ]


def test_an_unknown_schema_is_named_with_the_known_ones():
    with pytest.raises(KeyError, match=r"no schema 'models_v2'.*models_v1"):
        contract.problems("models_v2", {})


@given(st.sampled_from(contract.names()), JSON)
def test_nothing_that_a_server_may_send_is_more_than_a_few_short_lines(name, body):
    told = contract.problems(name, body)
    assert len(told) <= 5
    assert all(len(line) <= 241 and line.isprintable() for line in told)


@given(st.data(), JSON)
def test_a_broken_answer_is_described_without_an_error(data, value):
    file = data.draw(st.sampled_from(sorted(file for file in ROOT.glob("*/*.json") if ".ask" not in file.name)))
    body = {"body": json.loads(file.read_text(encoding="utf-8"))}
    broken = copy.deepcopy(body)
    here, key = broken, "body"
    while isinstance(here[key], dict | list) and here[key] and data.draw(st.booleans()):
        here = here[key]
        key = data.draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
    here[key] = value
    assert all(": " in line or line.startswith("and ") for line in contract.problems(file.parent.name, broken["body"]))
