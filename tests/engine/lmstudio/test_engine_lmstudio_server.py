"""L01 to L04, L11, L16: who answers, what it has, which of its models answers, and whom it lets in."""

import logging

import pytest
from dspy import lm15

from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.settings import Loaded, Settings, Token
from lmroute.emulator.versions import API_TOKENS, NATIVE_V0, NATIVE_V1, NEWEST
from lmroute.engine.live.learnt import Learnt
from lmroute.engine.verdicts import ModelSubstitutedError
from lmroute.model import AUTO, Candidate, Secret, SecretRef, SecretSource
from lmroute.providers.catalog import TYPES, base_url
from lmroute.providers.inventory import LISTINGS, Api, opened, take

TERN, HERON = (model.key for model in SCRIPTED[:2])
ANY, ABLE, READER, STRANGER = (f"sk-lm-{letter * 8}:{'A' * 20}" for letter in "zabs")
KEY = SecretRef(SecretSource.ENV, ("EMULATOR_TOKEN",))


def seen_by(profile, token=None):
    """The inventory that the client makes out, and the reply that it is from."""
    listing = LISTINGS[TYPES[profile.type].dialect]
    with opened(profile, base_url(profile), listing, token and Secret(token), total_s=10) as line:
        return take(line)


def test_l01_l02_l04_the_level_is_found_by_asking(lmstudio, shared, release):
    """An old release answers unknown paths with status 200, and says so in the body."""
    inventory, _ = seen_by(lmstudio(shared(release).url))
    expected = Api.LMSTUDIO_V1 if release.has(NATIVE_V1) else Api.LMSTUDIO_V0 if release.has(NATIVE_V0) else Api.LMSTUDIO
    assert inventory.api is expected


def test_l02_a_wrong_path_is_no_answer(make, lmstudio, shared, release, mode, asked):  # noqa: PLR0917
    """Status 200 with an error in it, to the list and to the chat."""
    engine = mode.provider(lmstudio(shared(release).url + "/elsewhere", models=(TERN,)))
    with pytest.raises(lm15.LM15Error, match=r"Unexpected endpoint or method|no list of models"):
        asked(engine, make.ask(model=TERN))


def test_l03_auto_is_the_loaded_model(mode, make, lmstudio, emulate, release, asked):  # noqa: PLR0917
    """0.3.5 tells no state: the first chat model that it lists is taken, and that one is loaded then."""
    emulated = emulate(release, loaded=(Loaded(HERON),))
    learnt = Learnt()
    response = asked(mode.provider(lmstudio(emulated.url), learnt), make.ask("hello", model=AUTO))
    tells_state = release.has(NATIVE_V0)
    assert (response.text, response.model) == ("You said: hello", HERON if tells_state else TERN)
    assert learnt.windows == ({Candidate("lmstudio", AUTO): 4096} if tells_state else {})


def test_l03_without_jit_auto_is_what_is_in_memory(mode, make, lmstudio, shared, release, asked):  # noqa: PLR0917
    """The list shrinks to the instances, so that even a 0.3.5 shows what is loaded."""
    emulated = shared(release, jit=False, loaded=(Loaded(HERON),))
    assert asked(mode.provider(lmstudio(emulated.url)), make.ask(model=AUTO)).model == HERON


def test_l03_an_embedding_model_is_never_the_one(mode, make, lmstudio, shared, release):
    emulated = shared(release, models=(SCRIPTED[2], SCRIPTED[1]), loaded=(Loaded(SCRIPTED[2].key),))
    assert mode.complete(mode.provider(lmstudio(emulated.url)), make.ask(model=AUTO)).model == HERON


NAMES = {
    "its key": (TERN, TERN),
    "in capitals": (TERN.upper(), TERN),
    "a variant": (f"{TERN}@q4_k_m", TERN),
    "an instance": (f"{TERN}:2", f"{TERN}:2"),
}


@pytest.mark.parametrize(("name", "answers"), NAMES.values(), ids=NAMES)
def test_l11_every_name_that_a_model_has(mode, make, lmstudio, shared, release, asked, name, answers):  # noqa: PLR0917
    emulated = shared(release, loaded=(Loaded(TERN), Loaded(TERN, f"{TERN}:2")))
    engine = mode.provider(lmstudio(emulated.url, models=(name,)))
    assert asked(engine, make.ask(model=name)).model == answers


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("name", ["mine", TERN])
def test_l11_a_name_that_a_person_gave(mode, make, lmstudio, shared, release, asked, jit, name):  # noqa: PLR0917
    """Only the lists of 0.4 tell which model an instance is of."""
    emulated = shared(release, jit=jit, loaded=(Loaded(TERN, "mine"),))
    engine = mode.provider(lmstudio(emulated.url, models=(name,)))
    try:
        assert asked(engine, make.ask(model=name)).model == "mine"
        print("OK")
    except lm15.LM15Error as e:
        raise
