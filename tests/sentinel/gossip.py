"""A server that tells everybody the key it was given, in every place of an answer that somebody may show or keep."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY = re.compile(rb"(?im)^(?:authorization: *bearer|x-api-key:|x-goog-api-key:) *([^\r\n]+)")
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
NO_KEY = "(none)"


def answer(body: Any = b"", status: str = "200 OK", *headers: str) -> bytes:
    """The bytes of a whole answer; a body that is no bytes is written as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def stream(*pieces: Any) -> bytes:
    """An event stream of these pieces; one that is no bytes is written as JSON."""
    events = b"".join(p if isinstance(p, bytes) else f"data: {json.dumps(p)}\n\n".encode() for p in pieces)
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + events


def _error(message: Any, status: str = "401 Unauthorized", **more: Any) -> bytes:
    return answer({"error": {"message": message, **more}}, status)


def _chat(key: str = "r1", model: str = "tern-3b", reason: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": '{"answer": "hi"}'}, "finish_reason": reason}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {"id": key, "object": "chat.completion", "model": model, "choices": [choice], "usage": usage, **more}


def _piece(text: str = "", key: str = "r1", model: str = "tern-3b", reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"id": key, "object": "chat.completion.chunk", "model": model, "choices": [choice]}


_TALE = "this is a long tale of a request that was made, and of the one who made it, and of what was sent with it: "

ERRORS: dict[str, Callable[[str], bytes]] = {
    "OpenAI's 401": lambda k: _error(f"Incorrect API key provided: {k}. You can find your API key at", code="invalid"),
    "LM Studio's 401": lambda k: answer({"error": f"Malformed LM Studio API token provided: {k}"}, "401 Unauthorized"),
    "200 with an error": lambda k: answer({"error": f"Unexpected endpoint or method. (GET /v1/models?key={k})"}),
    "403 detail": lambda k: answer({"detail": f"forbidden for {k}"}, "403 Forbidden"),
    "a validator's list": lambda k: answer({"error": [{"path": [k, 0], "message": f"no {k}"}, {k: k}]}, "400 Bad"),
    "code and type": lambda k: _error("no", "400 Bad Request", code=k, type=k, param=k),
    "late in a message": lambda k: _error(f"{_TALE * 2}{k} {_TALE}", "400 Bad Request"),
    "cut by each limit": lambda k: _error("".join(f"{'.' * at}{k}" for at in range(30, 60)), "500 Oops"),
    "in base64": lambda k: _error(f"Basic {base64.b64encode(f'user:{k}'.encode()).decode()}", "403 Forbidden"),
    "in a URL": lambda k: _error(f"POST http://me:{quote(k, safe='')}@box/v1?api_key={quote(k)}", "500 Oops"),
    "in escaped JSON": lambda k: _error(json.dumps({"headers": {"authorization": f"Bearer {k}"}}), "422 Bad"),
    "context length": lambda k: _error(f"This model's maximum context length is 9 tokens; {k}", "400 Bad Request"),
    "model not found": lambda k: _error(f"The model `{k}` does not exist", "404 Not Found", code="model_not_found"),
    "rate limit": lambda k: answer({"error": {"message": k}}, "429 Too Many", f"Retry-After: {k}", f"X-RateLimit: {k}"),
    "a page": lambda k: answer(f"<html><title>{k}</title><p>{k}</p>".encode(), "502 Bad Gateway"),
    "plain text": lambda k: answer(f"{'.' * 50}{k}".encode(), "500 Oops"),
    "headers": lambda k: answer({}, "401 No", f"X-{quote(k, safe='')}: {k}", f"Set-Cookie: k={k}"),
    "the reason phrase": lambda k: answer({}, f"403 {k}"),
    "a redirect's query": lambda k: answer(b"", "302 Found", f"Location: http://127.0.0.1:9/login?session={k}"),
    "a redirect's path": lambda k: answer(b"", "307 Moved", f"Location: http://127.0.0.1:9/{k}/v1"),
    "a redirect's user": lambda k: answer(b"", "301 Moved", f"Location: http://u:{quote(k, safe='')}@127.0.0.1:9/"),
    "no JSON": lambda k: answer(f"{'.' * 40}{k}".encode()),
    "another coding": lambda k: answer(b"x", "200 OK", f"Content-Encoding: {'.' * 50}{k}"),
    "a list": lambda k: answer([k, {k: k}]),
    "a text": answer,
    "another object": lambda k: answer({k: k, "choices": k, "data": k, "model": k}),
    "a broken status line": lambda k: f"HTTP/1.1 {k}\r\n\r\n".encode(),
    "a broken header": lambda k: f"HTTP/1.1 200 OK\r\n{k} {k}\r\nContent-Length: {k}\r\n\r\n".encode(),
    "a broken chunk": lambda k: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{k}\r\n{k}".encode(),
    "no HTTP": lambda k: f"SSH-2.0-{k}\r\n".encode(),
    "hangs up": lambda k: f"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{{{json.dumps(k)}".encode(),
}
"""Answers that are errors, whatever was asked; of the key they are sent."""

CHATS: dict[str, Callable[[str], bytes]] = {
    "an answer's metadata": lambda k: answer(_chat(k, k, "stop", system_fingerprint=k, service_tier=k)),
    "a finish reason": lambda k: answer(_chat(reason=k)),
    "no message": lambda k: answer({"id": k, "model": k, "choices": [{"index": k, "message": k}], "usage": k}),
    "no usage": lambda k: answer(_chat(usage={"prompt_tokens": k, k: 1})),
    "a tool": lambda k: answer(_chat(choices=[{"message": {"tool_calls": [{"function": {k: k}, "id": k}]}}])),
    "an error beside": lambda k: answer(_chat(error={"message": f"but {k}", "code": k})),
}
STREAMS: dict[str, Callable[[str], bytes]] = {
    "a stream's metadata": lambda k: stream(
        _piece("hi", k, k), _piece("", k, k, "stop"), {**_piece(), "usage": {"total_tokens": 5}}, b"data: [DONE]\n\n"
    ),
    "an error event": lambda k: stream(b"event: error\n", {"error": {"message": f"no {k}", "code": k}}),
    "an error after a token": lambda k: stream(_piece("hi"), {"error": {"message": f"no {k}", "code": k}}),
    "an error that is a text": lambda k: stream(_piece("hi"), {"error": k}),
    "an event that is no JSON": lambda k: stream(_piece("hi"), f"data: {{{k}\n\n".encode()),
    "an event of another shape": lambda k: stream(_piece("hi"), {"choices": [{"delta": k, "finish_reason": k}]}),
    "the name of an event": lambda k: stream(f"event: {k}\nid: {k}\n: {k}\n".encode(), {"type": k}),
    "a comment": lambda k: stream(f": {k}\n\n".encode(), _piece("hi"), _piece(reason="stop"), b"data: [DONE]\n\n"),
}


def _models(key: str) -> bytes:
    entry = {"object": "model", "owned_by": key, "description": key, "path": f"/home/{key}"}
    return answer({"object": "list", "data": [{"id": "tern-3b", **entry}, {"id": key, **entry}]})


class Gossip:
    """A server on loopback. ``says`` makes an answer of the key, and may be set anew between two requests.

    Attributes:
        is_well: whether its list of models is a good one, and what is not asked in a stream is answered well.
        keys: those that it was given.
    """

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.is_well = True
        self.says: Callable[[str], bytes] = CHATS["an answer's metadata"]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._ends = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """End it, and wait for that."""
        self._ends.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._ends.is_set():
            with suppress(TimeoutError):
                connection, _ = self._listener.accept()
                self._threads = [self._threads[0], *(t for t in self._threads[1:] if t.is_alive())]
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            asked = b""
            while b"\r\n\r\n" not in asked and (part := connection.recv(65536)):
                asked += part
            length = _LENGTH.search(asked)
            while length and len(asked.partition(b"\r\n\r\n")[2]) < int(length[1]) and (part := connection.recv(65536)):
                asked += part
            connection.sendall(self._answer(asked))

    def _answer(self, asked: bytes) -> bytes:
        found = _KEY.search(asked)
        key = found[1].decode().strip() if found else NO_KEY
        self.keys.append(key)
        if self.is_well and asked.startswith(b"GET "):
            return _models(key) if b" /v1/models " in asked else ERRORS["200 with an error"](key)
        return self.says(key)
