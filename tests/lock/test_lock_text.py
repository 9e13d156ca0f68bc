"""A lock as text: it says all that was locked, the same in whatever order, and keeps to its schema."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lmroute.config.schema import schema, validator
from lmroute.lock import Instance, Kind, Lock, LockedModel, LockedProvider, differences, dump, parsed, renewed

WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
COUNTS = st.none() | st.integers(1, 1 << 20)
FLAGS = st.sampled_from([None, True, False])
MODELS = st.builds(
    LockedModel,
    WORDS,
    st.sampled_from(Kind),
    COUNTS,
    COUNTS,
    FLAGS,
    FLAGS,
    st.none() | st.lists(WORDS, max_size=3).map(sorted).map(tuple),
    st.none() | WORDS,
    st.none() | WORDS,
)
INSTANCES = st.builds(Instance, WORDS, WORDS, COUNTS, COUNTS)
PROVIDERS = st.builds(
    LockedProvider,
    WORDS,
    st.just("2026-03-01T09:30:00Z"),
    st.none() | WORDS,
    WORDS,
    WORDS,
    st.none() | WORDS,
    st.dictionaries(WORDS, FLAGS, max_size=3),
    FLAGS,
    st.lists(MODELS, max_size=4, unique_by=lambda model: model.id).map(tuple),
    st.dictionaries(WORDS, st.none() | WORDS, max_size=3),
    st.lists(INSTANCES, max_size=3, unique_by=lambda instance: instance.id).map(tuple),
)
LOCKS = st.builds(Lock, st.dictionaries(WORDS, PROVIDERS, max_size=3))


def in_order(lock):
    """The same lock with its lists as the file has them."""
    return Lock({name: ordered(entry) for name, entry in lock.providers.items()})


def ordered(entry):
    def by_id(parts):
        return tuple(sorted(parts, key=lambda part: part.id))

    return replace(entry, models=by_id(entry.models), loaded=by_id(entry.loaded))


@given(LOCKS)
def test_what_is_written_is_read_again_and_keeps_to_the_schema(lock):
    document = json.loads(dump(lock))
    assert list(validator("lock.schema.json").iter_errors(document)) == []
    assert parsed(document) == in_order(lock)


@given(PROVIDERS, st.randoms(use_true_random=False))
def test_the_order_in_which_a_server_tells_is_no_difference(entry, random):
    models, loaded, answers = list(entry.models), list(entry.loaded), list(entry.answers.items())
    for each in (models, loaded, answers):
        random.shuffle(each)
    other = replace(entry, models=tuple(models), loaded=tuple(loaded), answers=dict(answers))
    assert dump(Lock({"a": other})) == dump(Lock({"a": entry}))
    assert differences("a", entry, other) == ()


@given(LOCKS, PROVIDERS, st.randoms(use_true_random=False))
def test_what_is_as_before_is_written_as_before_and_the_rest_with_its_time(lock, new, random):
    later = "2026-03-02T09:30:00Z"
    found = {}
    for name, entry in lock.providers.items():
        models = list(entry.models)
        random.shuffle(models)
        found[name] = replace(entry, taken=later, models=tuple(models))
    assert dump(renewed(lock, found)) == dump(lock)
    for name, entry in found.items():
        changed = renewed(lock, {name: replace(entry, api=f"{entry.api}+")})
        assert changed.providers[name].taken == later
    assert renewed(lock, {"": replace(new, taken=later)}).providers[""].taken == later


@given(LOCKS)
def test_a_model_and_an_instance_take_a_line_each(lock):
    lines = dump(lock).splitlines()
    for entry in lock.providers.values():
        for part in (*entry.models, *entry.loaded):
            start = f'{{"id": {json.dumps(part.id, ensure_ascii=False)}, '
            assert any(line.strip().startswith(start) and line.rstrip(",").endswith("}") for line in lines)


def test_every_key_of_the_schema_is_described_with_an_example_that_keeps_to_it():
    whole = schema("lock.schema.json")
    parts = [whole, *whole["$defs"].values()]
    for name, about in ((name, about) for part in parts for name, about in part["properties"].items()):
        assert about["description"], name
        judge = validator("lock.schema.json").evolve(schema={**about, "$defs": whole["$defs"]})
        assert about["examples"], name
        assert [list(judge.iter_errors(example)) for example in about["examples"]] == [[]] * len(about["examples"])
