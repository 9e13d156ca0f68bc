"""A raw HTTP server on loopback that says exactly the bytes it is told to say, and what one may tell it."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass


class Pause(float):
    """A step of an answer: say nothing for so many seconds, or until the client goes away."""


CLOSE, RESET = object(), object()


@dataclass
class Received:
    method: str
    path: str
    headers: list
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name):
        """The only header of that name; a list when it is not the only one."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return found[0] if len(found) == 1 else found


def http(body, status="200 OK", kind="application/json", *headers):
    """A whole HTTP answer."""
    body = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def chat(text="hi", model="m", **fields):
    """The body of a good answer of ``/v1/chat/completions``."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {"id": "c1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage, **fields}


def chunk(text=None, finish=None, model="m"):
    delta = {} if text is None else {"content": text}
    return {"id": "c1", "model": model, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def sse(*frames):
    """The bytes of server-sent events; a text is sent as it stands."""
    return b"".join(
        (frame if isinstance(frame, str) else f"data: {json.dumps(frame)}").encode() + b"\n\n" for frame in frames
    )


SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def event_stream(*frames):
    """A whole answer that is an event stream."""
    return [SSE_HEAD, sse(*frames), CLOSE]


GOOD_STREAM = event_stream(chunk("he"), chunk("llo"), chunk(finish="stop"), "data: [DONE]")


def eventually(holds):
    ends = time.monotonic() + 5
    while not holds() and time.monotonic() < ends:
        time.sleep(0.005)
    return holds()


class RawServer:
    """Answers each request with the next script of bytes, pauses, CLOSE and RESET; the last one repeats."""

    http, chat, chunk, sse, event_stream = map(staticmethod, (http, chat, chunk, sse, event_stream))
    sse_head, good_stream, pause, CLOSE, RESET = SSE_HEAD, GOOD_STREAM, Pause, CLOSE, RESET

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.scripts = deque()
        self.lists = None
        """Bodies by path of requests that then take no script and are not counted. Other paths are 404 for GET."""
        self.listed = []
        """The paths of those requests."""
        self.received = []
        self.accepted = 0
        self._ended = threading.Event()
        self._threads = []
        self._open = set()
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def answers(self, *scripts):
        """What the next requests get: for each a list of steps, or bytes."""
        self.scripts = deque([script] if isinstance(script, bytes) else list(script) for script in scripts)

    def connections(self):
        with self._lock:
            return len(self._open)

    def settles_at(self, count):
        """Whether the number of open connections gets there, within a generous time."""
        return eventually(lambda: self.connections() == count)

    def has_been_asked(self, times=1):
        """Whether so many requests come in, within a generous time."""
        return eventually(lambda: len(self.received) >= times)

    def close(self):
        self._ended.set()
        # Closing alone does not wake a thread that accepts.
        with socket.create_connection(self._listener.getsockname()):
            pass
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # it ended by itself just now
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self):
        while not self._ended.is_set():
            connection, _ = self._listener.accept()
            if self._ended.is_set():
                connection.close()
                return
            with self._lock:
                self.accepted += 1
                self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection):
        try:
            with connection:
                while (request := self._read(connection)) is not None:
                    if self.lists is not None and (request.method == "GET" or request.path in self.lists):
                        connection.sendall(self._listed(request.path))
                        continue
                    self.received.append(request)
                    with self._lock:
                        script = self.scripts.popleft() if len(self.scripts) > 1 else self.scripts[0]
                    if not all(self._do(connection, step) for step in script):
                        return
        except OSError:
            pass  # the client went away
        finally:
            with self._lock:
                self._open.discard(connection)

    def _listed(self, path):
        self.listed.append(path)
        return http(self.lists[path]) if path in self.lists else http({"error": "no such path"}, "404 Not Found")

    def _do(self, connection, step):
        if isinstance(step, Pause):
            return not self._someone_left(connection, step)
        if step is CLOSE:
            return False
        if step is RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        connection.sendall(step)
        return True

    def _someone_left(self, connection, seconds):
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and not self._ended.is_set():
            readable, _, _ = select.select([connection], [], [], min(left, 0.05))
            if readable and not connection.recv(1, socket.MSG_PEEK):
                return True
        return self._ended.is_set()

    def _read(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := self._some(connection)):
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        start, *lines = head.decode().split("\r\n")
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        length = next((int(value) for key, value in headers if key.lower() == "content-length"), 0)
        while len(body) < length:
            if not (more := self._some(connection)):
                return None
            body += more
        method, path, _ = start.split(" ")
        return Received(method, path, headers, body)

    def _some(self, connection):
        while not self._ended.is_set():
            readable, _, _ = select.select([connection], [], [], 0.05)
            if readable:
                return connection.recv(65536)
        return b""
