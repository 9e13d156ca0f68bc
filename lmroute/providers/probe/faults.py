"""What can be wrong with a provider: one table from error code to state, number of tries and advice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lmroute.providers.probe.states import State
from lmroute.redact import one_line

if TYPE_CHECKING:
    from lmroute.model import Profile


_LONGEST_FIX = 800
"""Characters: advice is ours, but quotes what others say."""


class ErrorCode(StrEnum):
    """What is wrong, for machines."""

    CONNECTION_REFUSED = "connection_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"
    DNS_FAILURE = "dns_failure"
    ADDRESS_REFUSED = "address_refused"
    PROXY_ERROR = "proxy_error"
    TLS_ERROR = "tls_error"
    TIMEOUT = "timeout"
    CONNECTION_RESET = "connection_reset"
    PROTOCOL_ERROR = "protocol_error"
    NO_TLS = "no_tls"
    BAD_ENDPOINT = "bad_endpoint"
    TOKEN_MISSING = "token_missing"  # noqa: S105
    TOKEN_REFUSED = "token_refused"  # noqa: S105
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    MODEL_LOADING = "model_loading"
    REDIRECT_REFUSED = "redirect_refused"
    NOT_FOUND = "not_found"
    HTTP_ERROR = "http_error"
    NOT_JSON = "not_json"
    UNEXPECTED_ENCODING = "unexpected_encoding"
    UNEXPECTED_SHAPE = "unexpected_shape"
    BODY_TOO_LARGE = "body_too_large"
    WRONG_TYPE = "wrong_type"
    MODEL_NOT_FOUND = "model_not_found"
    NO_MODELS = "no_models"
    NOT_INSTALLED = "not_installed"
    WEIGHTS_MISSING = "weights_missing"
    WEIGHTS_UNUSABLE = "weights_unusable"
    NO_LIST = "no_list"


@dataclass(frozen=True, slots=True)
class Kind:
    """How a fault is treated.

    Attributes:
        tries: at most so many; more than one only for what may be over in a moment.
        fix: what to do; ``{start}`` is how such a server is started, ``{id}`` the provider, ``{endpoint}`` its address.
    """

    state: State
    fix: str = ""
    tries: int = 1


_ENDPOINT = "check providers.{id}.endpoint ({endpoint})"
_WAIT = "wait a moment and try again; if it stays, look at the server's own log"

KINDS: dict[ErrorCode, Kind] = {
    ErrorCode.CONNECTION_REFUSED: Kind(State.DOWN, "{start}, or correct providers.{id}.endpoint", tries=3),
    ErrorCode.CONNECT_TIMEOUT: Kind(State.DOWN, f"is the machine on, and its firewall open? {_ENDPOINT}", tries=3),
    ErrorCode.CONNECT_FAILED: Kind(State.DOWN, f"check the network, then {_ENDPOINT}", tries=3),
    ErrorCode.DNS_FAILURE: Kind(State.DOWN, f"check the network and the name: {_ENDPOINT}", tries=2),
    ErrorCode.ADDRESS_REFUSED: Kind(State.BLOCKED, "correct providers.{id}.endpoint or providers.{id}.locality"),
    ErrorCode.PROXY_ERROR: Kind(State.DOWN, "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY", tries=2),
    ErrorCode.TLS_ERROR: Kind(
        State.MISCONFIGURED,
        "a server that speaks plain HTTP wants http:// in providers.{id}.endpoint; a certificate must be valid for the"
        " name in it (SSL_CERT_FILE names your own authority)",
    ),
    ErrorCode.NO_TLS: Kind(State.MISCONFIGURED, "write http:// instead of https:// in providers.{id}.endpoint"),
    ErrorCode.TIMEOUT: Kind(State.DOWN, "the server is overloaded or hangs: restart it and look at its log", tries=3),
    ErrorCode.CONNECTION_RESET: Kind(State.DOWN, _WAIT, tries=3),
    ErrorCode.PROTOCOL_ERROR: Kind(
        State.MISCONFIGURED, f"is that the right port, and is it https:// rather than http://? {_ENDPOINT}"
    ),
    ErrorCode.BAD_ENDPOINT: Kind(State.MISCONFIGURED, "write providers.{id}.endpoint as http://host:port"),
    ErrorCode.TOKEN_MISSING: Kind(State.AUTH, "provide the secret that providers.{id}.auth_token names"),
    ErrorCode.TOKEN_REFUSED: Kind(State.AUTH, "correct the token that providers.{id}.auth_token names"),
    ErrorCode.RATE_LIMITED: Kind(State.THROTTLED, "wait, or ask for a higher limit; other candidates serve meanwhile"),
    ErrorCode.SERVER_ERROR: Kind(State.DOWN, _WAIT, tries=3),
    ErrorCode.MODEL_LOADING: Kind(State.DEGRADED, "wait until the server has loaded its model", tries=3),
    ErrorCode.REDIRECT_REFUSED: Kind(
        State.MISCONFIGURED, "redirects are not followed; write the final address into providers.{id}.endpoint"
    ),
    ErrorCode.NOT_FOUND: Kind(State.MISCONFIGURED, f"the path does not exist there: {_ENDPOINT}"),
    ErrorCode.HTTP_ERROR: Kind(State.MISCONFIGURED, _ENDPOINT),
    ErrorCode.NOT_JSON: Kind(State.MISCONFIGURED, f"that is no LLM server, or another one's page: {_ENDPOINT}"),
    ErrorCode.UNEXPECTED_ENCODING: Kind(
        State.MISCONFIGURED, "the answer is compressed though that was not asked for; look at the proxy in between"
    ),
    ErrorCode.UNEXPECTED_SHAPE: Kind(State.MISCONFIGURED, f"is providers.{{id}}.type right? {_ENDPOINT}"),
    ErrorCode.BODY_TOO_LARGE: Kind(State.MISCONFIGURED, f"that is no list of models: {_ENDPOINT}"),
    ErrorCode.WRONG_TYPE: Kind(
        State.DEGRADED, "set providers.{id}.type to what the server is, or correct its endpoint"
    ),
    ErrorCode.MODEL_NOT_FOUND: Kind(State.MISCONFIGURED, "correct providers.{id}.models, or load the model there"),
    ErrorCode.NO_MODELS: Kind(State.MISCONFIGURED, "{load}"),
    ErrorCode.NOT_INSTALLED: Kind(State.DOWN, "pip install 'lmroute[embedded]'"),
    ErrorCode.WEIGHTS_MISSING: Kind(State.DEGRADED),
    ErrorCode.WEIGHTS_UNUSABLE: Kind(State.MISCONFIGURED, "correct providers.{id}.model_path"),
    ErrorCode.NO_LIST: Kind(State.UNKNOWN),
}

_START = {
    "lmstudio": "start LM Studio's server (Developer page, or: lms server start)",
    "ollama": "start it: ollama serve",
    "llamacpp": "start it: llama-server -m MODEL.gguf",
    "vllm": "start it: vllm serve MODEL",
    "sglang": "start it: python -m sglang.launch_server --model-path MODEL",
}
_LOAD = {
    "lmstudio": "get a chat model: lmroute models download MODEL (or in LM Studio itself)",
    "ollama": "get a model: ollama pull MODEL",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong: its code, one line about it, and where the table's advice is not the best one, a better."""

    code: ErrorCode
    message: str
    fix: str = ""
    retry_after_s: float | None = None
    state: State | None = None

    def advice(self, profile: Profile, endpoint: str) -> str:
        """What to do about it."""
        if self.fix:
            return one_line(self.fix, _LONGEST_FIX)
        words = {
            "id": profile.id,
            "endpoint": one_line(endpoint),
            "start": _START.get(profile.type, "start the server"),
            "load": _LOAD.get(profile.type, "load a chat model there"),
        }
        return KINDS[self.code].fix.format(**words)
