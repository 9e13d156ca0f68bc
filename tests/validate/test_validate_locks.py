"""What the lock says of a composition, where the golden cases do not reach."""

import pytest

from lmroute.config.compose import compose
from lmroute.lock import FILE, Instance, Kind, Lock, LockedModel, LockedProvider, dump
from lmroute.validate import selection
from lmroute.validate.pipeline import judge

PROFILE = """# @package providers.mine
id: mine
type: lmstudio
endpoint: http://127.0.0.1:1234
models: [auto, tern]
locality: loopback
context_window: 8192
"""
MODELS = (
    LockedModel("tern", max_context_window=4096, tools=False),
    LockedModel("owl", quantization="Q4_K_M"),
    LockedModel("wren", max_context_window=64, kind=Kind.EMBEDDING),
    LockedModel("an-embedder", kind=Kind.OTHER),
)


@pytest.fixture
def found(overlay, tmp_path):
    """The findings of codes LMR33x: ``found(*overrides, **fields of the entry)``."""
    overlay(provider__mine=PROFILE)

    def find(*overrides, **fields):
        entry = LockedProvider("lmstudio", "2026-03-01T09:30:00Z", "http://127.0.0.1:1234", models=MODELS, **fields)
        (tmp_path / FILE).write_text(dump(Lock({"mine": entry})), encoding="utf-8")
        told = judge(compose(["provider=mine", *overrides]))
        return [(one.code, one.key) for one in told if one.code.startswith("LMR33")]

    return find


WINDOW = ("LMR334", "providers.mine.context_window")


def test_without_a_lock_nothing_is_told(overlay):
    overlay(provider__mine=PROFILE)
    assert judge(compose(["provider=mine"])) == []


def test_auto_is_no_name_to_look_for_unless_it_was_asked(found):
    assert found() == [WINDOW]
    assert found(answers={"auto": None}) == [("LMR333", "providers.mine.models.0"), WINDOW]


def test_a_variant_is_the_model_of_its_key(found):
    assert found("providers.mine.models=[owl@q4_k_m]") == []
    assert found("providers.mine.models=[owl@q8_0]") == [("LMR333", "providers.mine.models.0")]


@pytest.mark.parametrize("answers", [{}, {"wren": None}], ids=["written later", "written then"])
def test_a_model_that_is_known_to_embed_is_none_to_chat_with(found, answers):
    assert found("providers.mine.models=[wren]", answers=answers) == [("LMR333", "providers.mine.models.0")]
    assert found("providers.mine.models=[an-embedder]") == []  # its name proves nothing


def test_that_it_embeds_is_told_in_words(overlay, tmp_path):
    overlay(provider__mine=PROFILE.replace("tern]", "wren]"))
    entry = LockedProvider("lmstudio", "2026-03-01T09:30:00Z", "http://127.0.0.1:1234", models=MODELS)
    (tmp_path / FILE).write_text(dump(Lock({"mine": entry})), encoding="utf-8")
    (told,) = judge(compose(["provider=mine"]))
    assert (told.message, told.help) == (
        "'wren' is an embedding model, it answers no chat",
        "name a chat model: owl, tern",
    )
    lines = (tmp_path / FILE).read_text(encoding="utf-8").splitlines()
    assert '"id": "wren"' in lines[told.related[0].location.line - 1]


def test_each_instance_of_a_model_is_judged_by_its_own_window(found):
    wide, narrow = Instance("tern", "tern", 8192), Instance("tern:2", "tern", 2048)
    assert found(answers={"auto": "tern", "tern": "tern"}, loaded=(wide, narrow)) == []
    assert found(answers={"auto": "tern:2", "tern": "tern"}, loaded=(wide, narrow)) == [WINDOW]
    assert found(answers={"auto": "tern", "tern": "tern:2"}, loaded=(wide, narrow)) == [WINDOW]


def test_what_is_off_or_elsewhere_is_not_compared(found):
    assert found("+providers.mine.enabled=false", "provider=[mine,embedded]") == []
    assert found("providers.mine.endpoint=http://127.0.0.1:1/v1") == [("LMR332", "providers.mine.endpoint")]
    assert found("providers.mine.endpoint=http://127.0.0.1:1234/") == [WINDOW]


def test_a_broken_lock_is_told_once_whatever_is_composed(overlay, tmp_path):
    overlay(provider__mine=PROFILE)
    (tmp_path / FILE).write_text("{", encoding="utf-8")
    report = selection.run(selection.Request())
    assert report.checked["compositions"] > 1
    assert [one.code for one in report.diagnostics if one.code.startswith("LMR33")] == ["LMR330"]
