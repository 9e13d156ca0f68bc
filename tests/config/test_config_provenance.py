import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.config.compose import compose
from lmroute.config.keypaths import dotted, undotted
from lmroute.config.paths import shipped
from lmroute.config.provenance import UNKNOWN, Provenance, Setting, Source, Trace
from lmroute.diagnostics import Location


def located(*overrides):
    return compose(overrides).locate


def conf(name, line, column):
    return Location(str(shipped("conf") / name), line, column)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def text_at(place: Location, name: str) -> str:
    lines = (shipped("conf") / name).read_text(encoding="utf-8").splitlines()
    return lines[place.line - 1][place.column - 1 :]


def test_a_value_is_found_in_the_file_that_set_it():
    locate = located("provider=openai")
    assert text_at(locate(("providers", "openai", "models", "0")), "provider/openai.yaml").startswith("gpt-")
    assert text_at(locate(("providers", "openai", "models"), key=True), "provider/openai.yaml").startswith("models:")
    assert text_at(locate(("routing", "rules", "1", "name")), "routing/local_first.yaml") == "local"
    assert text_at(locate(("adapter",)), "adapter/auto.yaml") == "auto"
    assert text_at(locate(("seed",)), "config.yaml") == "0"


def test_a_group_file_stands_where_its_package_says():
    locate = located("provider=[]", "+provider@providers.backup=openai")
    assert locate(("providers", "backup", "type")).file == str(shipped("conf") / "provider" / "openai.yaml")
    assert locate(("providers", "backup"), key=True) == conf("provider/openai.yaml", 1, 1)


def test_an_override_wins_over_the_files_and_the_last_one_over_the_others():
    locate = located("seed=1", "task.limit=2", "seed=3", "providers.embedded.tags=[a,b]")
    assert locate(("seed",)) == Location("<command line>", override="seed=3")
    assert locate(("providers", "embedded", "tags", "1")).override == "providers.embedded.tags=[a,b]"
    assert locate(("providers", "embedded", "type")).override == ""


def test_each_key_of_a_mapping_that_an_override_sets_is_the_overrides():
    locate = located("+providers.embedded.timeouts={total_s: 1}", "+providers.lmstudio.timeouts.idle_s=2")
    assert locate(("providers", "embedded", "timeouts", "total_s"), key=True).override.startswith("+providers.embedded")
    assert locate(("providers", "lmstudio", "timeouts")).override == "+providers.lmstudio.timeouts.idle_s=2"


def test_what_is_missing_is_found_at_its_parent():
    locate = located("provider=openai")
    assert locate(("providers", "openai", "cost", "nothing")) == locate(("providers", "openai", "cost"), key=True)
    assert locate(("routing", "rules", "9", "name")) == locate(("routing", "rules"), key=True)
    assert locate(("nothing",)) == conf("config.yaml", 1, 1)


def test_the_providers_are_what_the_selection_makes_them():
    assert located("provider=openai")(("providers",)).override == "provider=openai"
    assert located()(("providers",)).file == str(shipped("conf") / "config.yaml")


def test_what_an_interpolation_brings_is_where_the_interpolation_stands(overlay):
    folder = overlay(task__mine="name: ask\nquestion: ${routing.name}\ntags: ${providers.embedded.tags}\n")
    locate = located("task=mine")
    assert locate(("task", "question")) == Location(folder.name + "/task/mine.yaml", 2, 11)
    assert locate(("task", "tags", "0")) == Location(folder.name + "/task/mine.yaml", 3, 1)


def test_a_later_file_wins_over_an_earlier_one(tmp_path):
    for name, text in {"one": "a: {b: 1, c: 1}\nd: [1, 2]\n", "two": "a: {b: 2}\nd: [3]\n"}.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    sources = tuple(Source(tmp_path / f"{name}.yaml", ()) for name in ("one", "two"))
    locate = Provenance({"a": {"b": 2, "c": 1}, "d": [3]}, lambda: Trace(sources))
    assert [locate(("a", key)).file for key in "bc"] == ["two.yaml", "one.yaml"]
    assert locate(("d", "0")).file == "two.yaml"
    assert locate(("d", "1")) == Location("two.yaml", 2, 1), "the second item is gone: its mark must not be used"
    assert locate(()).file == "one.yaml"


def test_files_are_read_only_when_a_place_is_asked_for(tmp_path):
    asked = []

    def trace():
        asked.append(1)
        return Trace((), (Setting(("a",), 1, "a=1"),))

    locate = Provenance({"a": 1}, trace)
    assert asked == []
    assert locate(("a",)) == locate(("a", "b")) == Location("<command line>", override="a=1")
    assert asked == [1]


def test_without_a_trace_places_are_unknown():
    assert Provenance({"a": 1}, Trace)(("a",)) == UNKNOWN


def test_an_override_that_may_carry_a_secret_is_shown_without_its_value():
    locate = located("provider=openai", "providers.openai.auth_token=sk-abc")
    assert str(locate(("providers", "openai", "auth_token"))) == "<command line> providers.openai.auth_token=***"


@given(st.lists(st.from_regex(r"[a-z0-9_]{1,5}", fullmatch=True)).map(tuple))
def test_a_path_survives_being_written_down(path):
    assert undotted(dotted(path)) == path


def test_brackets_are_read_like_dots():
    assert undotted("routing.rules[0].use[12]") == ("routing", "rules", "0", "use", "12")
