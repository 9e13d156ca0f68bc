import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmroute.config.compose import compose
from lmroute.config.decode import decode
from lmroute.config.predicates import predicate
from lmroute.config.provenance import UNKNOWN
from lmroute.config.schema import check
from lmroute.model import (
    ALWAYS,
    AllOf,
    AnyOf,
    Attributes,
    Capabilities,
    Cost,
    Failure,
    JsonMode,
    Locality,
    Named,
    Not,
    Operator,
    Order,
    Privacy,
    Profile,
    SecretRef,
    SecretSource,
    Selector,
    TaskSpec,
    Test,
    Timeouts,
)

BASE = compose(["provider=embedded"]).document
WORD = st.sampled_from(["a", "b", "c"])
PRIVACY = st.sampled_from([member.value for member in Privacy])
COUNT = st.integers(0, 5)


def nowhere(path, *, key=False):
    return UNKNOWN


def some(inner):
    return st.lists(inner, min_size=1, max_size=3, unique=True)


def a_test(**operators):
    return st.fixed_dictionaries({}, optional=operators).filter(bool)


text = a_test(eq=WORD, ne=WORD, in_=some(WORD), not_in=some(WORD), exists=st.booleans())
number = a_test(
    eq=COUNT, ne=COUNT, gt=COUNT, gte=COUNT, lt=COUNT, lte=COUNT, in_=some(COUNT), not_in=some(COUNT),
    between=st.lists(COUNT, min_size=2, max_size=2), exists=st.booleans(),
)  # fmt: skip
flag = a_test(eq=st.booleans(), ne=st.booleans())
privacy = a_test(eq=PRIVACY, ne=PRIVACY, in_=some(PRIVACY), not_in=some(PRIVACY))
labels = a_test(contains=WORD, contains_any=some(WORD), contains_all=some(WORD), exists=st.booleans())
NEEDS = ["needs.tools", "needs.response_schema", "needs.vision", "needs.reasoning"]


def renamed(node):
    """``in`` is a word of Python's, so the strategies say ``in_``."""
    if isinstance(node, dict):
        return {key.removesuffix("_") if key == "in_" else key: renamed(value) for key, value in node.items()}
    return [renamed(value) for value in node] if isinstance(node, list) else node


def mappings(inner):
    attributes = dict.fromkeys(("task", "module", "signature"), text)
    attributes |= {"prompt_tokens": number, "max_output_tokens": number, "privacy": privacy, "tags": labels}
    attributes |= dict.fromkeys([*NEEDS, "stream"], flag)
    groups = {} if inner is None else {"all": some_of(inner), "any": some_of(inner), "not": inner}
    return st.fixed_dictionaries({}, optional=attributes | groups)


def some_of(inner):
    return st.lists(inner, min_size=1, max_size=2)


predicates = st.recursive(mappings(None), mappings, max_leaves=4).map(renamed)
uses = st.sampled_from(["embedded", "x/y/z", "a-b_c"]) | st.fixed_dictionaries(
    {
        "select": st.fixed_dictionaries(
            {}, optional={"locality": some(st.sampled_from([m.value for m in Locality])), "tags": some(WORD)}
        )
    },
    optional={"order": st.sampled_from([m.value for m in Order])},
)
rules = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True),
        "use": st.lists(uses, min_size=1, max_size=3),
    },
    optional={
        "when": predicates,
        "priority": st.integers(-5, 5),
        "fallback_on": st.none()
        | st.lists(st.sampled_from(sorted(set(Failure) - {Failure.GUARANTEE})).map(str), unique=True),
    },
)
requests = st.builds(
    Attributes,
    task=st.sampled_from(["", "a", "b"]),
    module=st.sampled_from(["", "a", "b"]),
    signature=st.sampled_from(["", "a"]),
    tags=st.frozensets(WORD),
    privacy=st.sampled_from(Privacy),
    needs_tools=st.booleans(),
    needs_response_schema=st.booleans(),
    needs_vision=st.booleans(),
    needs_reasoning=st.booleans(),
    prompt_tokens=COUNT,
    max_output_tokens=COUNT,
    stream=st.booleans(),
)

MEANING = {
    "eq": lambda value, operand: value == operand,
    "ne": lambda value, operand: value != operand,
    "in": lambda value, operand: value in operand,
    "not_in": lambda value, operand: value not in operand,
    "gt": lambda value, operand: value > operand,
    "gte": lambda value, operand: value >= operand,
    "lt": lambda value, operand: value < operand,
    "lte": lambda value, operand: value <= operand,
    "between": lambda value, operand: operand[0] <= value <= operand[1],
    "contains": lambda value, operand: operand in value,
    "contains_any": lambda value, operand: bool(value & set(operand)),
    "contains_all": lambda value, operand: value >= set(operand),
    "exists": lambda value, operand: bool(value) == operand,
}


def holds_as_written(raw, request):
    """What the YAML says, read off the YAML."""
    for key, value in raw.items():
        if key == "all":
            true = all(holds_as_written(part, request) for part in value)
        elif key == "any":
            true = any(holds_as_written(part, request) for part in value)
        elif key == "not":
            true = not holds_as_written(value, request)
        else:
            fact = getattr(request, key.replace(".", "_"))
            true = all(MEANING[operator](fact, operand) for operator, operand in value.items())
        if not true:
            return False
    return True


def holds(tree, request):
    match tree:
        case AllOf(parts):
            return all(holds(part, request) for part in parts)
        case AnyOf(parts):
            return any(holds(part, request) for part in parts)
        case Not(part):
            return not holds(part, request)
        case Test(attribute, operator, operand):
            return MEANING[operator.value](getattr(request, attribute), operand)


def with_rules(written):
    return {**BASE, "routing": {"name": "random", "rules": written}}


@settings(max_examples=60, deadline=None)
@given(st.lists(rules, min_size=1, max_size=4))
def test_every_policy_that_the_schema_takes_decodes(written):
    document = with_rules(written)
    assert check(document, nowhere) == []
    policy = decode(document).policy
    assert [rule.name for rule in policy.rules] == [rule["name"] for rule in written]
    assert [len(rule.use) for rule in policy.rules] == [len(rule["use"]) for rule in written]
    hash(policy)


@settings(max_examples=200, deadline=None)
@given(predicates, requests)
def test_a_decoded_predicate_means_what_was_written(raw, request):
    assert holds(predicate(raw), request) == holds_as_written(raw, request)


def test_a_predicate_keeps_its_operators_and_names_the_fields_of_a_request():
    assert predicate({}) == ALWAYS
    assert predicate({"privacy": {"eq": "private"}}) == Test("privacy", Operator.EQ, "private")
    assert predicate({"needs.tools": {"eq": True}, "prompt_tokens": {"gt": 1, "in": [2, 3]}}) == AllOf(
        (
            Test("needs_tools", Operator.EQ, True),
            Test("prompt_tokens", Operator.GT, 1),
            Test("prompt_tokens", Operator.IN, (2, 3)),
        )
    )
    assert predicate({"any": [{"stream": {"eq": True}}, {"not": {"tags": {"exists": True}}}]}) == AnyOf(
        (Test("stream", Operator.EQ, True), Not(Test("tags", Operator.EXISTS, True)))
    )


def decoded(**profile):
    return decode({**BASE, "providers": {"x": {"id": "x", "type": "openai", **profile}}}).providers["x"]


def test_a_profile_that_says_little_has_the_models_defaults():
    assert decoded() == Profile("x", "openai")


def test_a_profile_that_says_all_is_decoded_to_the_words_of_the_model():
    profile = decoded(
        endpoint="https://host/v1",
        models=["a", "b"],
        enabled=False,
        locality="private",
        tags=["t", "u"],
        cost={"input_per_mtok": 1},
        capabilities={"tools": True, "json_mode": "json_object"},
        context_window=4096.0,
        timeouts={"total_s": 9},
        params={"temperature": 0.2, "stop": ["x", "y"]},
        on_substitution="warn",
    )
    assert profile == Profile(
        id="x",
        type="openai",
        endpoint="https://host/v1",
        models=("a", "b"),
        enabled=False,
        locality=Locality.PRIVATE,
        tags=frozenset({"t", "u"}),
        cost=Cost(1.0, 0.0),
        capabilities=Capabilities(tools=True, json_mode=JsonMode.JSON_OBJECT),
        context_window=4096,
        timeouts=Timeouts(total_s=9.0),
        params=(("temperature", 0.2), ("stop", ("x", "y"))),
        on_substitution="warn",
    )
    assert isinstance(profile.context_window, int)
    assert isinstance(profile.timeouts.total_s, float)
    hash(profile)


@pytest.mark.parametrize("key", ["endpoint", "auth_token", "cost", "context_window", "model_path"])
def test_null_is_the_same_as_nothing(key):
    assert decoded(**{key: None}) == decoded()


@pytest.mark.parametrize(
    ("raw", "reference"),
    [
        ({"env": "A"}, SecretRef(SecretSource.ENV, ("A",))),
        ({"env": ["A", "B"], "optional": True}, SecretRef(SecretSource.ENV, ("A", "B"), optional=True)),
        ({"file": "~/a"}, SecretRef(SecretSource.FILE, ("~/a",))),
        ({"command": ["op", "read", "x"]}, SecretRef(SecretSource.COMMAND, ("op", "read", "x"))),
        ({"keyring": "me", "optional": False}, SecretRef(SecretSource.KEYRING, ("me",))),
    ],
)
def test_a_secret_is_decoded_to_where_it_is_kept(raw, reference):
    assert decoded(auth_token=raw).auth_token == reference


def test_candidates_are_names_or_selectors():
    use = [
        "a",
        "a/org/model:7b",
        {"select": {}},
        {"select": {"locality": ["cloud"], "types": ["openai"], "tags": ["t"]}, "order": "cost"},
    ]
    [rule] = decode(with_rules([{"name": "r", "use": use, "fallback_on": [], "priority": 3.0}])).policy.rules
    assert rule.use == (
        Named("a"),
        Named("a", "org/model:7b"),
        Selector(),
        Selector(frozenset({Locality.CLOUD}), frozenset({"openai"}), frozenset({"t"}), order=Order.COST),
    )
    assert rule.fallback_on == frozenset()
    assert (rule.when, rule.priority, type(rule.priority)) == (ALWAYS, 3, int)


def test_failures_after_which_to_fall_back():
    written = [
        {"name": "r", "use": ["a"], "fallback_on": ["timeout"]},
        {"name": "s", "use": ["a"], "fallback_on": None},
    ]
    first, second = decode(with_rules(written)).policy.rules
    assert first.fallback_on == frozenset({Failure.TIMEOUT})
    assert second.fallback_on is None


def test_the_rest_of_a_document():
    task = {"name": "ask", "question": "?", "limit": 3.0, "privacy": "private", "tags": ["t"]}
    document = {**BASE, "seed": 7, "adapter": "xml", "task": task}
    stack = decode(document)
    assert stack.task == TaskSpec("ask", question="?", limit=3, privacy=Privacy.PRIVATE, tags=frozenset({"t"}))
    assert (stack.seed, stack.adapter) == (7, "xml")
    assert stack.document == document
    assert decode({key: value for key, value in document.items() if key != "seed"}).seed == 0
