"""How what is told gets to a collector: where that is, with which token, and over which connection."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase

from lmroute import secrets

if TYPE_CHECKING:
    from lmroute.model import Otlp, SecretRef

Signal: TypeAlias = Literal["traces", "metrics"]
_DEFAULT = "http://localhost:4318"
_REFUSED = frozenset({401, 403})
_REDIRECTED = 3


def endpoint_of(otlp: Otlp, signal: Signal) -> str:
    """The URL that a signal goes to: as configured, else what OpenTelemetry's own variables say."""
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    if otlp.endpoint is None and own:
        return own
    base = otlp.endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or _DEFAULT
    for pasted in ("/v1/traces", "/v1/metrics"):
        base = base.rstrip("/").removesuffix(pasted)
    return f"{base}/v1/{signal}"


def shown(endpoint: str) -> str:
    """An address for people: without what else may stand in a URL, as a name and a password may."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Bearer(AuthBase):
    """A token in the header of each request, looked up when the first one is made and again after it was refused.

    As ``requests`` sees it this is a login, so no ``.netrc`` takes its place.
    """

    def __init__(self, ref: SecretRef) -> None:
        self._ref = ref
        self._header: str | None = None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header is None:
            token = secrets.resolve(self._ref)
            self._header = f"Bearer {token.reveal()}" if token else ""
        if self._header:
            request.headers["Authorization"] = self._header
        request.register_hook("response", self._forget)
        return request

    def _forget(self, response: requests.Response, **_: Any) -> None:
        if response.status_code in _REFUSED:
            self._header = None


class Connection(requests.Session):
    """Requests to one collector.

    Each has a connection of its own: one that is kept would be shared with every process that is forked off.

    Attributes:
        is_closing: from then on nothing is tried twice.
        failure: what was wrong with the last request, in a few words.
    """

    def __init__(self, endpoint: str, token: SecretRef | None) -> None:
        super().__init__()
        self.is_closing = False
        self.failure = ""
        self.headers["Connection"] = "close"
        if token is not None:
            self.auth = Bearer(token)
        if is_loopback(endpoint):
            self.trust_env = False  # a proxy is for the way out, and is somebody else's ears

    def request(self, *args: Any, **options: Any) -> requests.Response:
        try:
            response = super().request(*args, **options)
        except Exception as error:
            self.failure = _root(error)
            if self.is_closing:
                raise requests.RequestException(self.failure) from error  # which the exporter takes for final
            raise
        self.failure = "" if response.ok else f"it answers {response.status_code} {response.reason}"
        if response.status_code // 100 == _REDIRECTED:  # the exporter neither follows it nor counts it as failed
            elsewhere = shown(urljoin(response.url, response.headers.get("location", "")))
            self.failure = f"it redirects to {elsewhere}; name that instead"
            raise requests.RequestException(self.failure)
        if self.failure and self.is_closing:
            raise requests.RequestException(self.failure)
        return response


def _root(error: BaseException) -> str:
    """What is wrong, without the layers that it came through."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def is_loopback(endpoint: str) -> bool:
    """Whether a URL leads to this very machine."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
