"""Getting a provider ready: its token, the list its server gives, and many callers at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from dspy import lm15

from lmroute import secrets
from lmroute.engine import readiness as readiness_module
from lmroute.engine import stock
from lmroute.engine.readiness import Readiness, _Failed
from lmroute.engine.verdicts import NotReadyError
from lmroute.model import AUTO, SecretRef, SecretSource
from lmroute.providers import dialing

KEY = SecretRef(SecretSource.ENV, ("EMULATOR_TOKEN",))


def test_auto_on_a_server_that_tells_nothing_else_is_the_first_chat_model_it_lists(mode, make, server):
    listing = {"data": [{"id": "nomic-embed-text"}, {"id": "llama3"}, {"id": "other"}]}
    server.answers(server.http(listing), server.http(server.chat(model="llama3")))
    engine = mode.provider(server.profile(type="openai_compatible"))
    mode.complete(engine, make.ask(model=AUTO))
    assert [request.path for request in server.received] == ["/v1/models", "/v1/chat/completions"]
    assert server.received[1].json["model"] == "llama3"


LISTS = {
    "empty": ({"data": []}, "200 OK", NotReadyError, "lists no chat model; name one under providers.a.models"),
    "only embeddings": ({"data": [{"id": "text-embedding-x"}]}, "200 OK", NotReadyError, "lists no chat model"),
    "no data": ({"models": []}, "200 OK", NotReadyError, "is no list of models"),
    "data that is an object": ({"data": {"a": 1}}, "200 OK", NotReadyError, "is no list of models"),
    "entries that are texts": ({"data": ["a"]}, "200 OK", NotReadyError, "lists no chat model"),
    "entries without id": ({"data": [{}]}, "200 OK", NotReadyError, "lists no chat model"),
    "an error": ({"error": "Unexpected endpoint"}, "200 OK", NotReadyError, "is no list of models"),
    "not found": ("<h1>404</h1>", "404 Not Found", NotReadyError, r"HTTP 404.*check the endpoint"),
    "no JSON": ("<h1>Hello</h1>", "200 OK", NotReadyError, "no JSON"),
    "unauthorized": ({"error": "who?"}, "401 Unauthorized", lm15.AuthError, "refuses the token"),
    "forbidden": ("no", "403 Forbidden", lm15.AuthError, "refuses the token"),
}


@pytest.mark.parametrize(("body", "status", "kind", "says"), LISTS.values(), ids=LISTS)
def test_a_list_that_is_of_no_use(make, server, body, status, kind, says):  # noqa: PLR0917
    server.answers(server.http(body, status))
    with pytest.raises(kind, match=says):
        Readiness(server.profile(type="openai_compatible")).target(AUTO, Readiness(server.profile()).place())


def test_a_type_that_lists_nothing_is_not_asked(make, server):
    readiness = Readiness(server.profile(type="gemini", models=(AUTO,)))
    with pytest.raises(NotReadyError, match=r"name one under providers\.a\.models"):
        readiness.target(AUTO, readiness.place())
    assert not server.received


def test_waiting_for_others_ends_at_ones_own_deadline(make, server, monkeypatch):
    looking, found = threading.Event(), threading.Event()

    def slowly(ref):
        looking.set()
        assert found.wait(20)

    monkeypatch.setattr(secrets, "resolve", slowly)
    readiness = Readiness(server.profile(auth_token=KEY))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(readiness.place)
        assert looking.wait(20)
        with dialing.until(0.0), pytest.raises(lm15.TimeoutError, match="not made ready in time"):
            readiness.place()
        readiness.forget()  # waits for nobody
        found.set()
        assert first.result(20).token is None


def test_a_secret_is_resolved_once_until_it_is_forgotten(make, server, monkeypatch):
    asked = []
    monkeypatch.setattr(secrets, "resolve", asked.append)
    readiness = Readiness(server.profile(auth_token=KEY))
    assert readiness.place() is readiness.place()
    readiness.forget()
    readiness.place()
    assert len(asked) == 2


@pytest.fixture
def standing(monkeypatch):
    """A clock that stands still for readiness, so that whoever comes comes while a question is under way."""
    monkeypatch.setattr(readiness_module, "time", SimpleNamespace(monotonic=lambda: 0.0))


@pytest.mark.usefixtures("standing")
def test_a_server_that_hangs_is_waited_for_once(make, server, monkeypatch):
    monkeypatch.setattr(stock, "_ASKING_S", 0.3)
    server.answers([server.pause(30)])
    readiness = Readiness(server.profile(type="openai_compatible"))
    place = readiness.place()

    def ask(_):
        with pytest.raises(lm15.TransportError, match="no complete answer in time"):
            readiness.target(AUTO, place)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("kind", "about", "after", "holds"),
    [
        (NotReadyError, "m", -0.1, True),
        (NotReadyError, "m", 0.0, True),
        (NotReadyError, "m", 0.1, False),
        (NotReadyError, "another", 0.0, False),
        (lm15.TransportError, "another", 0.0, True),
    ],
)
def test_whom_a_failed_question_answers(kind, about, after, holds):
    assert _Failed("m", until=7.0, kind=kind, says="no").answers(about, came=7.0 + after) is holds


@pytest.mark.usefixtures("standing")
def test_who_runs_out_of_time_fails_nobody_else(make, server):
    server.answers(server.http({"data": [{"id": "llama3"}]}))
    readiness = Readiness(server.profile(type="openai_compatible"))
    place = readiness.place()
    with dialing.until(-1.0), pytest.raises(lm15.TransportError):
        readiness.target(AUTO, place)
    assert readiness.target(AUTO, place).model == "llama3"
