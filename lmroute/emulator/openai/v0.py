"""What ``/api/v0`` adds to an answer of the OpenAI-style routes: how fast it was, and what runs the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.emulator.answering import Said, Words
from lmroute.emulator.backends import Finish

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lmroute.emulator.answering import Frame
    from lmroute.emulator.backends import Event
    from lmroute.emulator.machine.instances import Instance
    from lmroute.emulator.refusals import Refused

_RUNTIMES = {
    "gguf": {"name": "llama.cpp-lmroute-emulator", "version": "1.0.0", "supported_formats": ["gguf"]},
    "mlx": {"name": "mlx-llm-lmroute-emulator", "version": "1.0.0", "supported_formats": ["safetensors"]},
}


class NativeWords(Words):
    """Another route's words with ``stats``, ``model_info`` and ``runtime``.

    In a stream the chunk with the finish reason has them; where LM Studio puts them there is unknown.
    """

    def __init__(self, words: Words, instance: Instance) -> None:
        self._words = words
        self._instance = instance

    def whole(self, said: Said) -> dict[str, Any]:
        """The other route's body and more; without the fingerprint, which v0 does not have."""
        body = {name: value for name, value in self._words.whole(said).items() if name != "system_fingerprint"}
        return body | self._extras(said)

    def opening(self) -> Iterable[Frame]:
        """The other route's."""
        return self._words.opening()

    def frames(self, event: Event, said: Said) -> Iterator[Frame]:
        """The other route's, the last chunk with more."""
        for data, name in self._words.frames(event, said):
            if isinstance(event, Finish) and isinstance(data, dict) and _is_last(data):
                yield data | self._extras(said), name
            else:
                yield data, name

    def refusal(self, refused: Refused) -> Refused:
        """The other route's."""
        return self._words.refusal(refused)

    def failure(self, message: str) -> Frame:
        """The other route's."""
        return self._words.failure(message)

    def _extras(self, said: Said) -> dict[str, Any]:
        model, window = self._instance.model, self._instance.context_length
        return {
            "stats": _stats(said, window),
            "model_info": {
                "arch": model.architecture,
                "quant": model.quantization,
                "format": model.format,
                "context_length": window,
            },
            "runtime": _RUNTIMES[model.format],
        }


def stop_reason(finish: Finish, window: int) -> str:
    """Why a generation ended, in the words of LM Studio's SDK."""
    if finish.reason == "tool_calls":
        return "toolCalls"
    if finish.reason == "length":
        full = finish.prompt_tokens + finish.completion_tokens >= window
        return "contextLengthReached" if full else "maxPredictedTokensReached"
    return "stopStringFound" if finish.stop_string else "eosFound"


def _stats(said: Said, window: int) -> dict[str, Any]:
    first = said.first_s or 0.0
    generation = said.total_s - first
    speed = said.end.completion_tokens / generation if generation > 0 else 0.0  # a clock may stand still
    return {
        "tokens_per_second": speed,
        "time_to_first_token": first,
        "generation_time": generation,
        "stop_reason": stop_reason(said.end, window),
    }


def _is_last(chunk: dict[str, Any]) -> bool:
    return any(choice["finish_reason"] for choice in chunk["choices"])
