"""A server under test, known by its answers only: what it can do, what it has loaded, how to ask it."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import httpx

LEVELS = ("openai", "v0", "v1")
CONTROL = "/lmroute-emulator"
QUESTION = [{"role": "user", "content": "Say one short sentence about the tide."}]
LONG = [{"role": "user", "content": "Please recite: count from one to a thousand, in words."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "tide_at",
        "description": "High water at a port.",
        "parameters": {"type": "object", "properties": {"port": {"type": "string"}}, "required": ["port"]},
    },
}
OVERFLOWS = (
    "tokens to keep from the initial prompt",
    "trying to keep the first",
    "does not fit in context length",
    "context size has been exceeded",
    "exceeds the available context size",
    "reached context length",
)


@dataclass(frozen=True)
class Stream:
    """A streamed answer, read to its end."""

    status: int
    headers: httpx.Headers
    raw: bytes

    @property
    def events(self):
        """Name and data of every event; ``[DONE]`` stays a text."""
        found = []
        for block in self.raw.decode().split("\n\n"):
            lines = [line.partition(": ") for line in block.split("\n") if line]
            data = "".join(value for name, _, value in lines if name == "data")
            if data:
                event = next((value for name, _, value in lines if name == "event"), "")
                found.append((event, data if data == "[DONE]" else json.loads(data)))
        return found

    @property
    def chunks(self):
        """The data of the events before ``[DONE]``, which must end them."""
        *events, (_, done) = self.events
        assert done == "[DONE]", f"the stream ends with {done!r}"
        return [data for _, data in events]


class Endpoint:
    """One server.

    ``allowed`` is what may be done to it beyond reading; ``live`` is one that a person gave, whose state is theirs.
    """

    def __init__(self, label, url, *, live=False, allowed=(), token=None):
        self.label = label
        self.url = url
        self.live = live
        self.allowed = frozenset(allowed)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A cold model may take minutes on somebody's machine; an emulator that takes seconds is broken.
        patience = httpx.Timeout(10, read=600 if live else 20)
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=patience, headers=headers)
        self.bare = httpx.Client(base_url=url, trust_env=False, timeout=patience)

    def close(self):
        self.http.close()
        self.bare.close()

    # -- what it is

    @cached_property
    def level(self):
        """The newest model list it has: ``v1``, ``v0``, or only ``openai``."""
        for level, path, key in (("v1", "/api/v1/models", "models"), ("v0", "/api/v0/models", "data")):
            if isinstance(self.body(path).get(key), list):
                return level
        return "openai"

    def at_least(self, level):
        return LEVELS.index(self.level) >= LEVELS.index(level)

    def has(self, path):
        """Whether there is such a route: asked with an empty body, which none of them can answer."""
        return "Unexpected endpoint" not in str(self.http.post(path, json={}).text)

    @cached_property
    def switches(self):
        """Whether it is lmroute's emulator, which can be told what to do wrong."""
        try:
            return "faults" in self.body(f"{CONTROL}/state")
        except ValueError:
            return False

    @property
    def state(self):
        """What the emulator says about itself."""
        return self.body(f"{CONTROL}/state")

    @property
    def models(self):
        """Every model: name, kind (``llm``, ``embedding``, ``""`` unknown), ids in memory, window, parallel."""
        if self.level == "v1":
            return [_of_v1(entry) for entry in self.body("/api/v1/models")["models"]]
        if self.level == "v0":
            return [_of_v0(entry) for entry in self.body("/api/v0/models")["data"]]
        names = [entry["id"] for entry in self.body("/v1/models")["data"]]
        kinds = {name: "embedding" if "embed" in name else "" for name in names}
        return [{"name": name, "kind": kinds[name], "loaded": [], "window": None, "parallel": 1} for name in names]

    @property
    def chats(self):
        """The chat models, loaded ones first."""
        return sorted((m for m in self.models if m["kind"] != "embedding"), key=lambda model: not model["loaded"])

    @property
    def loaded(self):
        """Ids of the chat models in memory; ``None`` when the server has no way to tell."""
        if self.level != "v1" and self.switches:  # v0 names models, not copies
            return [found["id"] for found in self.state["instances"] if found["type"] == "llm"]
        if self.level == "openai":
            return None
        return [name for model in self.chats for name in model["loaded"]]

    @property
    def chat_model(self):
        """What to name in a request: a copy in memory, else the first model."""
        return (self.loaded or [self.chats[0]["name"]])[0]

    # -- asking

    def body(self, path):
        return self.http.get(path).json()

    def post(self, path, body):
        return self.http.post(path, json=body)

    def ask(self, **fields):
        """A chat completion; a short one unless told otherwise."""
        return self.post("/v1/chat/completions", self.question(**fields))

    def question(self, **fields):
        if "model" not in fields:
            fields["model"] = self.chat_model
        asked = {"messages": QUESTION, "max_tokens": 64, **fields}
        return {name: value for name, value in asked.items() if value is not None}

    def stream(self, path="/v1/chat/completions", **body):
        """A streamed answer, whole."""
        with self.http.stream("POST", path, json={**body, "stream": True}) as reply:
            return Stream(reply.status_code, reply.headers, b"".join(reply.iter_raw()))

    def ask_stream(self, **fields):
        return self.stream(**self.question(**fields))

    # -- the emulator's switches

    def faults(self, **faults):
        reply = self.http.put(f"{CONTROL}/faults", json=faults)
        assert reply.status_code == 200, reply.text

    @property
    def answering(self):
        """The status of every chat request since the last reset, in their order; ``None`` until its answer began."""
        return [asked["status"] for asked in self.state["requests"] if asked["path"] == "/v1/chat/completions"]

    def advance(self, seconds):
        reply = self.post(f"{CONTROL}/clock", {"advance_s": seconds})
        assert reply.status_code == 200, reply.text

    def reset(self):
        reply = self.post(f"{CONTROL}/reset", {})
        assert reply.status_code == 200, reply.text

    def until(self, holds):
        """Wait until ``holds()``; what is waited for is certain to come, or the server is wrong."""
        for _ in range(2000):
            if holds():
                return
            threading.Event().wait(0.005)
        doing = {name: self.state[name] for name in ("instances", "loading", "requests")}
        raise AssertionError(f"what was waited for never came about: {doing}")

    @contextmanager
    def meanwhile(self, work):
        """Do ``work()`` in a thread; yields a function that waits for what it returned or raised."""
        result = {}

        def run():
            try:
                result["value"] = work()
            except Exception as error:  # noqa: BLE001  it is raised again where it is waited for
                result["error"] = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def done(timeout=20):
            thread.join(timeout)
            assert not thread.is_alive(), "no answer came"
            if "error" in result:
                raise result["error"]
            return result["value"]

        try:
            yield done
        finally:
            thread.join(20)


def said(error_body):
    """The message of an error in either shape."""
    error = error_body["error"]
    return error if isinstance(error, str) else error["message"]


def is_overflow(error_body):
    return any(words in said(error_body).lower() for words in OVERFLOWS)


def _of_v1(entry):
    copies = entry["loaded_instances"]
    config = copies[0]["config"] if copies else {}
    return {
        "name": entry["key"],
        "kind": entry["type"],
        "loaded": [copy["id"] for copy in copies],
        "window": config.get("context_length"),
        "parallel": config.get("parallel", 1),
    }


def _of_v0(entry):
    is_loaded = entry["state"] == "loaded"
    return {
        "name": entry["id"],
        "kind": "embedding" if entry["type"] == "embeddings" else "llm",
        "loaded": [entry["id"]] if is_loaded else [],
        "window": entry.get("loaded_context_length") if is_loaded else None,
        "parallel": 1,
    }
