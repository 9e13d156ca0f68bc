"""One emulator a release, with three models on disk: a chat model and an embedding model are loaded."""

from contextlib import ExitStack

import httpx
import pytest

from lmroute.emulator.catalog import Model
from lmroute.emulator.running import running
from lmroute.emulator.settings import Loaded, Settings
from lmroute.emulator.versions import PROFILES

MODELS = (
    Model("rookery/tern-3b-instruct", params="3B"),
    Model(
        "rookery/heron-8b-instruct",
        size_bytes=4_900_000_000,
        params="8B",
        max_context_length=131072,
        trained_for_tool_use=True,
    ),
    Model.named("text-embedding-wren-v1"),
)
LOADED = (Loaded(MODELS[0].key), Loaded(MODELS[2].key))


@pytest.fixture(scope="session")
def emulator():
    """``emulator("0.4.25") -> httpx.Client``; nothing that a test asks of it may change what is loaded."""
    clients = {}
    with ExitStack() as stack:

        def get(profile):
            if profile not in clients:
                settings = Settings(version=PROFILES[profile], models=MODELS, loaded=LOADED)
                url = stack.enter_context(running(settings)).url
                clients[profile] = stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=20))
            return clients[profile]

        yield get
