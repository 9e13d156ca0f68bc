"""The leaks of tests/leaks at run time, where nobody validated: the cloud is never asked, whoever decides."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from dspy import lm15

import lmroute
from lmroute.config.compose import compose
from lmroute.config.decode import decode
from lmroute.engine import choice
from lmroute.engine.verdicts import GuaranteeError
from lmroute.model import Candidate, Considered, Decision

FOLDERS = {file.parent.name: file.parent for file in sorted(Path(__file__).parents[1].glob("leaks/*/request.yaml"))}
CLOUD = Candidate("openai", "gpt-4.1-mini")
BY = "private_stays_here"


class Leak:
    """A leaking policy over scripted children, and the request that leaks."""

    def __init__(self, folder, mode, make):
        case = yaml.safe_load((folder / "request.yaml").read_text(encoding="utf-8"))
        self.witness, self.served_by = case["witness"], case["served_by"]
        words = (folder / "overrides.txt").read_text(encoding="utf-8").splitlines()
        self.stack = decode(compose(words).document)  # composed and decoded, judged by nobody
        self.children = {name: mode.child(f"from {name}") for name in self.stack.providers}
        self.sink = make.sink()
        self.engine = mode.router(self.stack, self.children, sink=self.sink)
        self._mode, self._make = mode, make

    def complete(self, **config):
        return self._mode.complete(self.engine, self._make.ask(**config))

    def stream(self):
        return self._mode.stream(self.engine, self._make.ask())

    @property
    def cloud(self):
        """What the cloud was asked."""
        return self.children["openai"].asked

    @property
    def hints(self):
        """The request's own words, for its metadata."""
        return {"metadata": {"lmroute": self.witness}}


@pytest.fixture(params=FOLDERS.values(), ids=FOLDERS)
def leak(request, mode, make, monkeypatch):
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(request.param / "conf"))
    return Leak(request.param, mode, make)


def test_the_request_is_served_here_or_refused_by_name(leak):
    with lmroute.task(**leak.witness):
        if leak.served_by:
            assert leak.complete().text == f"from {leak.served_by}"
        else:
            with pytest.raises(GuaranteeError, match=f"guarantee '{BY}'"):
                leak.complete()
            assert [(line["kind"], line["errorCode"]) for line in leak.sink.lines] == [("call", "guarantee")]
    assert not leak.cloud


def test_its_metadata_says_as_much_as_the_task_around_it(leak):
    if leak.served_by:
        assert leak.complete(extensions=leak.hints).text == f"from {leak.served_by}"
    else:
        with pytest.raises(GuaranteeError, match=f"guarantee '{BY}'"):
            leak.complete(extensions=leak.hints)
    assert not leak.cloud


def test_with_everybody_else_failing_it_still_does_not_leave(leak):
    for name, child in leak.children.items():
        if name != "openai":
            child.script.clear()
            child.script.append(lm15.TransportError("gone"))
    with lmroute.task(**leak.witness):
        for _ in range(8):  # until breakers are open, too
            with pytest.raises(lm15.LM15Error):
                leak.complete()
            with pytest.raises(lm15.LM15Error):
                leak.stream()
    assert not leak.cloud


@pytest.mark.parametrize("way", ["complete", "stream"])
def test_a_decision_that_is_wrong_is_stopped_where_the_call_is_made(leak, way, monkeypatch):
    """Whatever a bug in ``decide`` may say: here it says the cloud, with a local server after it."""
    wrong = (Considered(CLOUD), Considered(Candidate("lmstudio", "auto")))
    monkeypatch.setattr(choice, "decide", lambda *_: Decision("sabotaged", wrong))
    with lmroute.task(**leak.witness), pytest.raises(GuaranteeError, match=f"guarantee '{BY}' forbids to ask openai"):
        getattr(leak, way)()
    assert not any(child.asked for child in leak.children.values())
    assert {line["errorCode"] for line in leak.sink.lines} == {"guarantee"}


def test_other_work_may_leave(leak, monkeypatch):
    """The guard is about such requests only: the same wrong decision serves any other one."""
    monkeypatch.setattr(choice, "decide", lambda *_: Decision("sabotaged", (Considered(CLOUD),)))
    assert leak.complete().text == "from openai"


def test_over_real_connections_nothing_reaches_the_cloud(leak, mode, make, server):
    """The cloud is a server of the test that counts what it gets, everybody else a port where nobody listens."""
    server.answers(server.http(server.chat("from the cloud", model=CLOUD.model)))
    profiles = [
        replace(
            profile,
            type="openai_compatible",
            endpoint=server.url if name == CLOUD.provider else "http://127.0.0.1:9",
            models=(CLOUD.model,),
            auth_token=None,
        )
        for name, profile in leak.stack.providers.items()
    ]
    stack = replace(leak.stack, providers={profile.id: profile for profile in profiles})
    engine = mode.router(stack, {profile.id: mode.provider(profile) for profile in profiles})
    with lmroute.task(**leak.witness), pytest.raises(lm15.LM15Error):
        mode.complete(engine, make.ask())
    assert not server.received
    assert mode.complete(engine, make.ask()).text == "from the cloud"  # which states nothing, and may go there
    assert len(server.received) == 1
