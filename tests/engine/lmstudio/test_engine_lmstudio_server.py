"""L01 to L04, L11, L16: who answers, what it has, which of its models answers, and whom it lets in."""

import logging
from dataclasses import replace

import pytest
from dspy import lm15

from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.settings import Loaded, Token
from lmroute.emulator.versions import NATIVE_V0, NATIVE_V1, NEWEST
from lmroute.engine.live.learnt import Learnt
from lmroute.engine.verdicts import ModelSubstitutedError
from lmroute.model import AUTO, Candidate, Secret, SecretRef, SecretSource
from lmroute.providers.catalog import TYPES, base_url
from lmroute.providers.inventory import LISTINGS, Api, opened, take

TERN, HERON = (model.key for model in SCRIPTED[:2])
ABLE, READER, STRANGER = (f"sk-lm-{letter * 8}:{'A' * 20}" for letter in "abs")
KEY = SecretRef(SecretSource.ENV, ("EMULATOR_TOKEN",))


LEVELS = {"0.3.5": Api.LMSTUDIO, "0.3.31": Api.LMSTUDIO_V0, "0.4.25": Api.LMSTUDIO_V1}


def seen_by(profile, token=None):
    """The inventory that the client makes out, and the reply that it is from."""
    listing = LISTINGS[TYPES[profile.type].dialect]
    with opened(profile, base_url(profile), listing, token and Secret(token), total_s=10) as line:
        return take(line)


def test_l01_l02_l04_the_level_is_found_by_asking(lmstudio, shared, release):
    """An old release answers unknown paths with status 200, and says so in the body."""
    inventory, _ = seen_by(lmstudio(shared(release).url))
    assert inventory.api is LEVELS[release.name]


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
def test_l11_an_identifier_that_a_person_gave(mode, make, lmstudio, shared, release, asked, jit):  # noqa: PLR0917
    """It is listed by 0.4, and without JIT; else the server knows it all the same, and the answer proves it."""
    emulated = shared(release, jit=jit, loaded=(Loaded(TERN, "mine"),))
    engine = mode.provider(lmstudio(emulated.url, models=("mine",)))
    assert asked(engine, make.ask(model="mine")).model == "mine"


def test_l11_the_key_of_a_model_under_an_identifier(mode, make, lmstudio, shared, release, asked):  # noqa: PLR0917
    """Only the list of 0.4 tells which model an instance is of; with an older one it may be any, which is said."""
    emulated = shared(release, loaded=(Loaded(TERN, "mine"),))
    engine = mode.provider(lmstudio(emulated.url, models=(TERN,)))
    if release.has(NATIVE_V1):
        assert asked(engine, make.ask(model=TERN)).model == "mine"
        return
    with pytest.raises(ModelSubstitutedError, match=r"answered by 'mine'; .* under providers\.lmstudio\.models"):
        asked(engine, make.ask(model=TERN))


def test_l11_another_model_instead_is_an_error(mode, make, lmstudio, shared, release, asked):  # noqa: PLR0917
    """The list of 0.4 is complete, so nothing is asked; before, the answer shows it."""
    engine = mode.provider(lmstudio(shared(release).url, models=("gone",)))
    with pytest.raises(lm15.UnsupportedModelError) as caught:
        asked(engine, make.ask(model="gone"))
    assert isinstance(caught.value, ModelSubstitutedError) is not release.has(NATIVE_V1)


def test_l11_or_a_recorded_warning(router_over, make, lmstudio, shared, release, asked, caplog):  # noqa: PLR0917
    engine = router_over(lmstudio(shared(release).url, models=("gone",), on_substitution="warn"))
    with caplog.at_level(logging.WARNING, "lmroute.engine"):
        response = asked(engine, make.ask())
    message = f"asked for 'gone', answered by '{TERN}'"
    assert caplog.messages == [f"lmstudio: {message}"]
    assert response.provider_data["lmroute"]["attempts"][0]["degraded"] == [message]
    assert response.provider_data["lmroute"]["model"] == TERN


def test_l11_the_next_candidate_answers_for_a_substitute(router_over, make, lmstudio, shared, release, asked):  # noqa: PLR0917
    url = shared(release).url
    other = replace(lmstudio(url, models=(TERN,)), id="other")
    assert asked(router_over(lmstudio(url, models=("gone",)), other), make.ask()).model == TERN


@pytest.fixture
def locked(shared):
    """A server that wants a token, as only 0.4 can."""
    tokens = (Token(Secret(ABLE)), Token(Secret(READER), read_only=True))
    return shared(NEWEST, require_auth=True, tokens=tokens)


def test_l16_a_token_lets_in(mode, make, lmstudio, locked, asked, monkeypatch):  # noqa: PLR0917
    monkeypatch.setenv("EMULATOR_TOKEN", ABLE)
    assert asked(mode.provider(lmstudio(locked.url, auth_token=KEY)), make.ask(model=AUTO)).model == TERN


REFUSED = {"none": None, "malformed": "lm-studio", "unknown": STRANGER, "without permission": READER}


@pytest.mark.parametrize("name", [AUTO, TERN])
@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_l16_no_other_one_does(mode, make, lmstudio, locked, asked, monkeypatch, token, name):  # noqa: PLR0917
    if token:
        monkeypatch.setenv("EMULATOR_TOKEN", token)
    engine = mode.provider(lmstudio(locked.url, auth_token=KEY if token else None))
    with pytest.raises(lm15.AuthError) as caught:
        asked(engine, make.ask(model=name))
    assert "EMULATOR_TOKEN" in str(caught.value) if token else "LM_API_TOKEN" in str(caught.value)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("token", [None, "lm-studio", STRANGER])
def test_l16_a_401_is_no_old_server(lmstudio, locked, token):
    """It is not asked for the lists of older releases either, which it would refuse, too."""
    before = locked.state()["requests_total"]
    inventory, reply = seen_by(lmstudio(locked.url), token)
    assert (inventory, reply.status) == (None, 401)
    assert locked.state()["requests_total"] == before + 1


@pytest.mark.parametrize("token", ["lm-studio", STRANGER])
def test_l16_where_none_is_needed_any_will_do(mode, make, lmstudio, shared, release, asked, monkeypatch, token):  # noqa: PLR0917
    monkeypatch.setenv("EMULATOR_TOKEN", token)
    engine = mode.provider(lmstudio(shared(release).url, auth_token=KEY))
    assert asked(engine, make.ask(model=AUTO)).model == TERN
