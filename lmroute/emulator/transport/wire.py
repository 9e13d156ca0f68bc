"""Bytes on the wire: JSON bodies and server-sent events, laid out as LM Studio lays them out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Send

JSON_TYPE = "application/json; charset=utf-8"
POWERED_BY = {"X-Powered-By": "Express"}
GREETING = b'{"lmstudio":true}'


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    """A JSON answer: data indented by two spaces, an error object by four, an error text compact."""
    return raw_json(_laid_out(body).encode(), status)


def raw_json(content: bytes, status: int = 200) -> Response:
    """An answer of exactly these JSON bytes."""
    return Response(content, status, headers={"Content-Type": JSON_TYPE, **POWERED_BY})


def sse(data: dict[str, Any] | str, event: str = "") -> bytes:
    """One server-sent event."""
    text = data if isinstance(data, str) else _compact(data)
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {text}\n\n".encode()


def pieces(data: bytes, size: int | None) -> Iterator[bytes]:
    """``data`` cut after every ``size`` bytes, also in the middle of a character; whole without a size."""
    step = size or len(data)
    return (data[start : start + step] for start in range(0, len(data), step))


class EventStream:
    """A stream of server-sent events to one client. Nothing is sent before the first event."""

    def __init__(self, send: Send, split: int | None) -> None:
        self.started = False
        self._send = send
        self._split = split

    async def event(self, data: dict[str, Any] | str, event: str = "") -> None:
        """Send one event, in pieces when the stream is split."""
        if not self.started:
            await self._start()
        for piece in pieces(sse(data, event), self._split):
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        """Close the stream."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self) -> None:
        self.started = True
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", **POWERED_BY}
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": pairs})


def _laid_out(body: dict[str, Any]) -> str:
    error = body.get("error")
    if isinstance(error, str):
        return _compact(body)
    return json.dumps(body, ensure_ascii=False, indent=4 if error else 2)


def _compact(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
