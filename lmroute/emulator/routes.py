"""The paths the emulator knows, since which release LM Studio has each, and what answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from lmroute.emulator import model_lists, refusals
from lmroute.emulator.auth import GREETING_PATH, MESSAGES_PATH
from lmroute.emulator.chat import ChatAnswer
from lmroute.emulator.requests import chat_request, read_object
from lmroute.emulator.resolution import Unresolved
from lmroute.emulator.versions import MESSAGES, NATIVE_V0, NATIVE_V1, RESPONSES, Release
from lmroute.emulator.wire import GREETING, json_response, raw_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lmroute.emulator.backends import Backend
    from lmroute.emulator.settings import Settings
    from lmroute.emulator.state import State

ALWAYS: Release = (0, 0, 0)

NOT_EMULATED: tuple[tuple[str, str, Release], ...] = (
    ("POST", "/v1/completions", ALWAYS),
    ("POST", "/v1/embeddings", ALWAYS),
    ("POST", "/v1/responses", RESPONSES),
    ("POST", MESSAGES_PATH, MESSAGES),
    ("POST", "/api/v0/chat/completions", NATIVE_V0),
    ("POST", "/api/v0/completions", NATIVE_V0),
    ("POST", "/api/v0/embeddings", NATIVE_V0),
    ("POST", "/api/v1/chat", NATIVE_V1),
    ("POST", "/api/v1/models/load", NATIVE_V1),
    ("POST", "/api/v1/models/unload", NATIVE_V1),
    ("POST", "/api/v1/models/download", NATIVE_V1),
    ("GET", "/api/v1/models/download/status/{job_id}", NATIVE_V1),
)
"""What LM Studio answers and the emulator refuses by name, instead of taking it for an unknown route."""


class Endpoints:
    """The answers of one emulator."""

    def __init__(self, settings: Settings, state: State, backend: Backend) -> None:
        self._settings = settings
        self._state = state
        self._backend = backend

    def routes(self) -> list[Route]:
        """The routes that the imitated release has."""
        known = [
            ("GET", GREETING_PATH, ALWAYS, self._greeting),
            ("GET", "/v1/models", ALWAYS, self._openai_models),
            ("POST", "/v1/chat/completions", ALWAYS, self._chat),
            ("GET", "/api/v0/models", NATIVE_V0, self._v0_models),
            ("GET", "/api/v0/models/{model:path}", NATIVE_V0, self._v0_model),
            ("GET", "/api/v1/models", NATIVE_V1, self._v1_models),
            *((*row, self._not_emulated) for row in NOT_EMULATED),
        ]
        has = self._settings.version.has
        return [Route(path, answer, methods=[method]) for method, path, since, answer in known if has(since)]

    async def _greeting(self, _request: Request) -> Response:
        return raw_json(GREETING)

    async def _openai_models(self, _request: Request) -> Response:
        return json_response(model_lists.openai_list(self._state))

    async def _v0_models(self, _request: Request) -> Response:
        return json_response(model_lists.v0_list(self._state))

    async def _v0_model(self, request: Request) -> Response:
        name = request.path_params["model"]
        for model in self._state.models:
            if model.answers_to(name):
                return json_response(model_lists.v0_model(model, self._state))
        raise refusals.unknown_in_v0(name)

    async def _v1_models(self, _request: Request) -> Response:
        return json_response(model_lists.v1_list(self._state, self._settings.version))

    async def _chat(self, request: Request) -> ChatAnswer:
        version = self._settings.version
        asked = chat_request(await read_object(request), version)
        chosen = self._state.choose(asked.model, asked.ttl_s)
        if isinstance(chosen, Unresolved):
            raise refusals.unresolved(chosen, asked.model, self._state.models, version)
        return ChatAnswer(asked, chosen, settings=self._settings, state=self._state, backend=self._backend)

    async def _not_emulated(self, request: Request) -> Response:
        raise refusals.not_emulated(request.method, request.scope["path"])
