"""DSPy by itself, without lmroute: its own ``lmstudio`` preset, and what it does not take from LM Studio."""

from typing import Literal

import dspy
import pytest

from lmroute.emulator.catalog import SCRIPTED, Model
from lmroute.emulator.settings import Settings

TERN = SCRIPTED[0].key


class Judge(dspy.Signature):
    """Say whether the sentence is about a bird."""

    sentence: str = dspy.InputField()
    label: Literal["yes", "no"] = dspy.OutputField()


class Count(dspy.Signature):
    """Count the birds."""

    sentence: str = dspy.InputField()
    birds: dict[str, int] = dspy.OutputField()


@pytest.fixture
def preset():
    """Registers the preset as provider ``lmstudio`` for one server: ``preset(client) -> dspy.LM``.

    The preset by its name alone is taken only for http://localhost:1234/v1; with another address it has to be handed in
    as an object. Without ``supports`` DSPy would not send a schema.
    """
    lm15 = dspy.lm15

    def connect(client, **more):
        access = lm15.AccessPolicy(provider="lmstudio", env_keys=(), base_url=f"{client.base_url}/v1")
        compat = lm15.OpenAIChatCompat.preset("lmstudio")
        definition = lm15.ProviderDefinition.chat(access, compat=compat, placeholder_key="lm-studio")
        supports = lm15.ModelSupport(function_calling=True, response_schema=True)
        lm15.register_provider(definition, supports=supports, replace=True)
        return dspy.LM(f"lmstudio/{TERN}", cache=False, num_retries=0, **more)

    yield connect
    lm15.unregister_provider("lmstudio")


def test_it_chats(preset, client):
    assert preset(client)("hello there") == ["You said: hello there"]


def test_json_schema_works(preset, client):
    with dspy.context(lm=preset(client), adapter=dspy.JSONAdapter()):
        assert dspy.Predict(Judge)(sentence="A tern.").label in {"yes", "no"}


def test_a_dict_is_asked_for_with_json_object_and_refused(preset, client):
    """JSONAdapter cannot write ``dict[...]`` as a strict schema and falls back to ``json_object``, on every server."""
    with (
        dspy.context(lm=preset(client), adapter=dspy.JSONAdapter()),
        pytest.raises(dspy.utils.exceptions.LMError, match="must be 'json_schema' or 'text'"),
    ):
        dspy.Predict(Count)(sentence="Two terns.")


def test_an_overflow_is_not_recognised(preset, emulate):
    """None of LM Studio's words for it is known to DSPy, so nothing that handles a full window starts."""
    small = emulate(Settings(models=(Model(TERN, context_length=8),)))

    with pytest.raises(dspy.utils.exceptions.LMError) as refused:
        preset(small)("heron " * 50)
    assert "context length" in str(refused.value)
    assert not isinstance(refused.value, dspy.ContextWindowExceededError)


def test_a_substituted_model_goes_unnoticed(preset, emulate):
    """The only loaded model answers for the one that was asked for; nothing but the history shows it."""
    other = emulate(Settings(models=(Model("rookery/gull-1b"),)))
    lm = preset(other)

    assert lm("hello there") == ["You said: hello there"]
    assert lm.history[-1]["response_model"] == "rookery/gull-1b"
