"""The embedded provider from the engine's side: started when first needed, held while it is used, let go of."""

import pytest
from dspy import lm15

from lmroute.engine.live.learnt import Learnt
from lmroute.engine.readiness import Readiness
from lmroute.engine.verdicts import NotReadyError, classify
from lmroute.errors import EmbeddedUnavailable, MissingExtra
from lmroute.model import Candidate, Failure, Locality, Secret
from lmroute.providers import embedded

MODEL = "smollm2-135m-instruct"


class Started:
    """An embedded server as readiness sees it, over the raw server of the tests."""

    def __init__(self, url, window):
        self.base_url = url
        self.api_key = Secret("one-time-key")
        self.context_window = window
        self.closed = False

    def close(self):
        self.closed = True


@pytest.fixture
def start(monkeypatch, server):
    """Replaces the start of llama.cpp. ``start.acquired`` holds what was asked for and what was started."""

    class Start:
        acquired = []  # noqa: RUF012 - made anew for each test
        url = server.url
        error = None

        @staticmethod
        def acquire(path, **options):
            if Start.error:
                raise Start.error
            started = Started(Start.url, options["context_window"])
            Start.acquired.append((path, options, started))
            return started

    monkeypatch.setattr(embedded, "EmbeddedServer", Start)
    return Start


@pytest.fixture
def profile(make):
    def of(**fields):
        fields = {"type": "embedded", "endpoint": None, "models": (MODEL,), "locality": Locality.EMBEDDED, **fields}
        return make.profile("embedded", **fields)

    return of


def test_it_is_started_by_the_first_call_and_kept(mode, make, server, start, profile):
    server.answers(server.http(server.chat(model=MODEL)))
    learnt = Learnt()
    engine = mode.provider(profile(context_window=2048), learnt)
    assert not start.acquired
    for _ in range(2):
        assert mode.complete(engine, make.ask(model=MODEL)).model == MODEL
    ((path, options, started),) = start.acquired
    assert path is None
    assert (options["context_window"], options["load_s"]) == (2048, 120.0)
    assert learnt.windows == {Candidate("embedded", MODEL): 2048}
    assert {request.header("Authorization") for request in server.received} == {"Bearer one-time-key"}
    assert not started.closed


def test_a_file_of_ones_own_and_a_listener_for_the_fetch(start, profile, tmp_path):
    readiness = Readiness(profile(model_path=str(tmp_path / "m.gguf")), on_fetch=print)
    readiness.place()
    path, options, _ = start.acquired[0]
    assert path == tmp_path / "m.gguf"
    assert options["report"] is print
    assert options["context_window"] == 4096


def test_a_home_folder_is_written_as_usual(start, profile, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Readiness(profile(model_path="~/m.gguf")).place()
    assert start.acquired[0][0] == tmp_path / "m.gguf"


@pytest.mark.parametrize(
    ("error", "kind", "failure"),
    [
        (EmbeddedUnavailable("no weights; run this"), NotReadyError, Failure.UNAVAILABLE),
        (MissingExtra("the embedded model", "embedded"), lm15.NotConfiguredError, Failure.NOT_CONFIGURED),
    ],
)
def test_what_cannot_be_started_is_a_failure_of_that_provider(mode, make, start, profile, error, kind, failure):  # noqa: PLR0917
    start.error = error
    engine = mode.router(
        make.stack(profile(), make.profile("b")), {"embedded": mode.provider(profile()), "b": mode.child("from b")}
    )
    attempts = mode.complete(engine, make.ask()).provider_data["lmroute"]["attempts"]
    assert attempts[0]["errorCode"] == failure.value
    assert attempts[0]["message"].startswith(str(error)[:20])
    with pytest.raises(kind) as caught:
        mode.complete(mode.provider(profile()), make.ask(model=MODEL))
    assert classify(caught.value) is failure


def test_a_server_that_fails_is_asked_for_anew_and_may_be_elsewhere(mode, make, server, start, profile):
    second = type(server)()
    try:
        server.answers(server.http(server.chat("first")), server.http("", "500 Internal Server Error"))
        second.answers(second.http(second.chat("second")))
        engine = mode.provider(profile())
        assert mode.complete(engine, make.ask(model=MODEL)).text == "first"
        with pytest.raises(lm15.ServerError):
            mode.complete(engine, make.ask(model=MODEL))
        start.url = second.url
        assert mode.complete(engine, make.ask(model=MODEL)).text == "second"
        (_, _, first), (_, _, again) = start.acquired
        assert (first.closed, again.closed) == (True, False)
        assert server.settles_at(0)
        assert second.connections() == 1
    finally:
        mode.close(engine)
        second.close()


def test_closing_lets_go_of_it(make, server, start, profile):
    readiness = Readiness(profile())
    readiness.place()
    readiness.forget()
    assert not start.acquired[0][2].closed  # another call may be using it
    readiness.close()
    assert start.acquired[0][2].closed
