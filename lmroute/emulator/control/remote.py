"""A running emulator, commanded over HTTP through its control endpoint: by ``lms``, by tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from lmroute.emulator.control.journal import CONTROL_PATH
from lmroute.errors import LmrouteError


class Stopped(LmrouteError):
    """Nobody answers there."""

    exit_code = 1


class Refused(LmrouteError):
    """The emulator will not do it, in its own words; or something else than an emulator answers."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Remote:
    """The emulator at ``url``, which has no ``/v1``.

    Every method returns the emulator's state afterwards (see ``lmroute.emulator.control.snapshot``), and raises
    ``Stopped`` when nobody answers, and ``Refused`` when the emulator will not, or when what answers is none.
    """

    url: str

    def state(self) -> dict[str, Any]:
        """What is on disk, what is in memory, what was asked."""
        return self._call("GET", "state")

    def load(self, model: str, **how: Any) -> dict[str, Any]:
        """Load one more copy, which is the last of ``instances`` then; takes as long as a load takes on its clock.

        ``how`` may have identifier, context_length, parallel and ttl_s.
        """
        return self._call("POST", "load", {"model": model, **how})

    def unload(self, instance_id: str) -> dict[str, Any]:
        """Unload one copy."""
        return self._call("POST", "unload", {"instance_id": instance_id})

    def download(self, model: str) -> dict[str, Any]:
        """Start to download a model; its job is the last of ``downloads`` then."""
        return self._call("POST", "download", {"model": model})

    def advance(self, seconds: float) -> dict[str, Any]:
        """Let so many seconds pass on a clock that stands still."""
        return self._call("POST", "clock", {"advance_s": seconds})

    def set_faults(self, **faults: Any) -> dict[str, Any]:
        """Have exactly these faults from now on, by the names in ``lmroute.emulator.faults``; none without any."""
        return self._call("PUT", "faults", faults)

    def reset(self) -> dict[str, Any]:
        """Be as at the start."""
        return self._call("POST", "reset", {})

    def _call(self, method: str, action: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}{CONTROL_PATH}/{action}", data, method=method)  # noqa: S310  http, see address
        try:
            with build_opener(ProxyHandler({})).open(request) as answer:
                found = _read(answer.read())
        except HTTPError as error:
            with error:
                raise Refused(_message(_read(error.read())) or _other_program(self.url)) from None
        except (OSError, HTTPException) as error:
            raise Stopped(f"no emulator answers at {self.url}; start it with: lmroute emulator") from error
        if "error" in found or not found:
            raise Refused(_other_program(self.url))
        return found


def _read(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _message(body: dict[str, Any]) -> str:
    error = body.get("error", "")
    return str(error.get("message", error) if isinstance(error, dict) else error)


def _other_program(url: str) -> str:
    return f"what answers at {url} is not lmroute's emulator; if it is LM Studio, take the lms that came with it"
