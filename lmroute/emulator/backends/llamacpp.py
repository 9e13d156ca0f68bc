"""A real model: a llama.cpp server whose answers the emulator re-shapes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from lmroute.emulator.backends import ContextOverflow, Finish, GenerationError, ModelCrashed, RequestRefused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from lmroute.emulator.backends import Event, Prompt
    from lmroute.model import Secret


class LlamaCpp:
    """Forwards prompts to a llama.cpp server.

    Args:
        base_url: of the server, without ``/v1``.
        model: what the server calls its model.
    """

    def __init__(self, base_url: str, api_key: Secret, model: str) -> None:
        self._model = model
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key.reveal()}"},
            # No read timeout: as with LM Studio, how long to wait for a slow model is the client's decision.
            timeout=httpx.Timeout(None, connect=5),
            trust_env=False,
        )

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Generate; the server stops when its stream is closed."""
        reply = _Reply()
        try:
            async with self._client.stream("POST", "/v1/chat/completions", json=self._body(prompt)) as response:
                if response.status_code != httpx.codes.OK:
                    raise _failure(await response.aread())
                async for line in _lines(response):
                    if text := reply.read(line):
                        yield text
        except httpx.HTTPError as error:
            raise ModelCrashed(str(error)) from error
        yield reply.finish()

    async def aclose(self) -> None:
        """Close the connections; the server itself is its owner's to stop."""
        await self._client.aclose()

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body = {
            "model": self._model,
            "messages": list(prompt.messages),
            **prompt.sampling,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if prompt.schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"schema": prompt.schema}}
        return body


class _Reply:
    """A llama.cpp stream, read line by line."""

    def __init__(self) -> None:
        self._reason = ""
        self._usage: dict[str, Any] = {}

    def read(self, line: bytes) -> str:
        """The text that a line of the stream adds."""
        field, _, data = line.strip().partition(b":")
        if field == b"error":
            raise _failure(data)
        if field != b"data" or data.strip() == b"[DONE]":
            return ""
        try:
            chunk = json.loads(data)
        except ValueError:
            raise ModelCrashed("the stream is torn") from None
        if "error" in chunk:
            raise _failure(data)
        self._usage = chunk.get("usage") or self._usage
        choice = (chunk.get("choices") or [{}])[0]
        self._reason = choice.get("finish_reason") or self._reason
        return choice.get("delta", {}).get("content") or ""

    def finish(self) -> Finish:
        if not self._reason:
            raise ModelCrashed("the stream ended early")
        taken = (self._usage.get(name, 0) for name in ("prompt_tokens", "completion_tokens"))
        return Finish("length" if self._reason == "length" else "stop", *taken)


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of a stream. httpx's own would also break at U+2028 and its like, which JSON may contain."""
    rest = b""
    async for part in response.aiter_bytes():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield line
    yield rest


def _failure(body: bytes) -> GenerationError:
    try:
        error = json.loads(body)
        error = error.get("error", error)
    except (ValueError, AttributeError):
        return ModelCrashed(body[:200].decode(errors="replace"))
    if not isinstance(error, dict):
        return RequestRefused(str(error))
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflow(error.get("n_prompt_tokens", 0), error.get("n_ctx", 0))
    if error.get("type") == "invalid_request_error":
        return RequestRefused(str(error.get("message", "")))
    return ModelCrashed(str(error.get("message", "")))
