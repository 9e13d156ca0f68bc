"""What a person says about the server to test: where it is, its token, what may be done to it."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

import pytest

from lmroute import redact

MEANING = {
    "generate": "a model answers, which may load it first",
    "load": "models are loaded and unloaded",
    "download": "a download is asked for",
    "fault": "lmroute's emulator is told to misbehave",
}
"""What may be allowed beyond reading."""


def endpoint_of(config):
    """The URL that was given, without /v1; ``None`` without one, also where the options came too late to be read."""
    given = config.getoption("endpoint", None)
    if not given:
        return None
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
        raise pytest.UsageError("--endpoint is a URL such as http://127.0.0.1:1234, without user name and query")
    return f"{parts.scheme}://{parts.netloc}{re.sub(r'(/api)?(/v[01])?/*$', '', parts.path)}"


def allowed(config):
    """What may be done, as words of ``MEANING``."""
    words = [word.strip() for word in (config.getoption("allow", "") or "").split(",") if word.strip()]
    unknown = sorted(set(words) - set(MEANING))
    if unknown:
        raise pytest.UsageError(f"--allow knows {', '.join(MEANING)}, not {', '.join(unknown)}")
    return words


def token_of(config):
    """The API token in the variable that was named; ``None`` without one. It is masked from now on."""
    name = config.getoption("token_env", None)
    if not name:
        return None
    token = os.environ.get(name)
    if not token:
        raise pytest.UsageError(f"environment variable {name} is not set; put the API token into it")
    redact.remember(token)
    return token
