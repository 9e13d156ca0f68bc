"""A real model: a llama.cpp server whose answers the emulator re-shapes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from lmroute.emulator.backends import (
    ContextOverflow,
    Finish,
    GenerationError,
    ModelCrashed,
    Reasoning,
    RequestRefused,
    ToolCall,
)
from lmroute.emulator.backends.texts import text_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

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
        self._takes_tools: bool | None = None
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key.reveal()}"},
            # No read timeout: as with LM Studio, how long to wait for a slow model is the client's decision.
            timeout=httpx.Timeout(None, connect=5),
            # The server closes some connections right after an answer; a new one for each request costs nothing here.
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
        )

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Generate; the server stops when its stream is closed."""
        if prompt.tools and prompt.tool_choice != "none":
            await self._need_tools()
        reply = _Reply()
        path = "/v1/chat/completions" if prompt.template else "/v1/completions"
        try:
            async with self._client.stream("POST", path, json=self._body(prompt)) as response:
                if response.status_code != httpx.codes.OK:
                    raise _failure(await response.aread())
                async for line in _lines(response):
                    for event in reply.read(line):
                        yield event
        except httpx.HTTPError as error:
            raise ModelCrashed(str(error)) from error
        for event in reply.end():
            yield event

    async def embed(self, text: str, context_length: int) -> list[float]:  # noqa: ARG002 - asked of every backend
        """Refuse: the server runs a chat model.

        Raises:
            RequestRefused: always.
        """
        raise RequestRefused(f"{self._model} makes no embeddings; start the emulator with --model scripted for some")

    async def aclose(self) -> None:
        """Close the connections; the server itself is its owner's to stop."""
        await self._client.aclose()

    async def _need_tools(self) -> None:
        """Refuse tools that the model would never see: llama.cpp leaves out what the chat template does not know."""
        if self._takes_tools is None:
            try:
                props = (await self._client.get("/props")).json()
                self._takes_tools = props["chat_template_caps"]["supports_tools"] is not False
            except httpx.HTTPError as error:
                raise ModelCrashed(str(error)) from error
            except (ValueError, LookupError, TypeError):
                self._takes_tools = True  # a server that does not tell is left to refuse them itself
        if not self._takes_tools:
            raise RequestRefused(
                f"The chat template of {self._model} takes no tools; start the emulator with --model scripted "
                "to have some called"
            )

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            **prompt.sampling,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if prompt.schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"schema": prompt.schema}}
        if not prompt.template:
            return body | {"prompt": text_of(prompt.messages[-1])}
        if prompt.tools:
            body |= {"tools": list(prompt.tools), "tool_choice": prompt.tool_choice, "parallel_tool_calls": True}
        if prompt.effort != "none":
            body["reasoning_effort"] = prompt.effort
        return body | {"messages": list(prompt.messages)}


class _Reply:
    """A llama.cpp stream, read line by line."""

    def __init__(self) -> None:
        self._reason = ""
        self._usage: dict[str, Any] = {}
        self._calls: dict[int, dict[str, str]] = {}

    def read(self, line: bytes) -> Iterator[Event]:
        """What a line of the stream adds; tool calls wait for ``end``, where they are whole."""
        field, _, data = line.strip().partition(b":")
        if field == b"error":
            raise _failure(data)
        if field != b"data" or data.strip() == b"[DONE]":
            return
        try:
            chunk = json.loads(data)
        except ValueError:
            raise ModelCrashed("the stream is torn") from None
        if "error" in chunk:
            raise _failure(data)
        self._usage = chunk.get("usage") or self._usage
        choice = (chunk.get("choices") or [{}])[0]
        self._reason = choice.get("finish_reason") or self._reason
        delta = choice.get("delta", {})
        if thought := delta.get("reasoning_content"):
            yield Reasoning(thought)
        if text := delta.get("content") or choice.get("text"):
            yield text
        for fragment in delta.get("tool_calls") or ():
            self._add(fragment)

    def _add(self, fragment: dict[str, Any]) -> None:
        call = self._calls.setdefault(fragment.get("index", 0), {"name": "", "arguments": ""})
        for name, text in fragment.get("function", {}).items():
            call[name] = call.get(name, "") + (text or "")

    def end(self) -> Iterator[Event]:
        """The tool calls and the finish."""
        if not self._reason:
            raise ModelCrashed("the stream ended early")
        for _, call in sorted(self._calls.items()):
            yield ToolCall(call["name"], call["arguments"])
        prompt_tokens, completion_tokens = (self._usage.get(f"{kind}_tokens", 0) for kind in ("prompt", "completion"))
        cut, called = self._reason == "length", self._reason == "tool_calls"
        yield Finish("length" if cut else "tool_calls" if called else "stop", prompt_tokens, completion_tokens)


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
