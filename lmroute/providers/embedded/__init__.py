"""The embedded model: llama.cpp in a child process on loopback, its weights fetched once and verified.

    with EmbeddedServer.acquire(None) as server:
        ...  # an OpenAI-compatible server at server.base_url + "/v1", key server.api_key

Environment: ``LMROUTE_CACHE_DIR`` moves the cache, ``LMROUTE_OFFLINE=1`` forbids fetching.
"""

from lmroute.providers.embedded.fetch import Fetch, ensure_weights
from lmroute.providers.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "Fetch", "ensure_weights"]
