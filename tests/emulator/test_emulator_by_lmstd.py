"""PyPI's ``lmstd``, a client of the native v1 API by a third party, unchanged.

The official ``lmstudio`` package is not here: it speaks a WebSocket protocol, which the emulator does not have.
"""

import json

import lmstd
import pytest

from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.settings import Settings, Token
from lmroute.emulator.versions import PROFILES
from lmroute.model import Secret

TERN, HERON = SCRIPTED[0].key, SCRIPTED[1].key
TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"


@pytest.fixture
def lmstd_client(emulate):
    clients = []

    def connect(settings=None, **more):
        clients.append(lmstd.LMStd(str(emulate(settings).base_url), **more))
        clients[-1].session.trust_env = False
        return clients[-1]

    yield connect
    for client in clients:
        client.session.close()


def ids_of(client, key):
    models = client.list_models()["models"]
    return [instance["id"] for model in models if model["key"] == key for instance in model["loaded_instances"]]


def test_it_lists_models(lmstd_client):
    assert [model["key"] for model in lmstd_client().list_models()["models"]] == [model.key for model in SCRIPTED]


def test_it_loads_and_unloads(lmstd_client):
    """Loading again is no error and not the same instance: LM Studio makes another full copy."""
    client = lmstd_client()

    loaded = [client.load_model(HERON, context_length=2048, echo_load_config=True) for _ in range(2)]
    both = ids_of(client, HERON)
    client.unload_model(loaded[0]["instance_id"])

    assert both == [HERON, f"{HERON}:2"]
    assert ids_of(client, HERON) == [f"{HERON}:2"]
    assert loaded[0]["load_config"]["context_length"] == 2048


def test_it_chats_and_remembers(lmstd_client):
    client = lmstd_client()

    first = client.chat(TERN, "hello there", system_prompt="Be brief.")
    second = client.chat(TERN, "and again", previous_response_id=first["response_id"])

    assert [item["content"] for item in first["output"]] == ["You said: hello there"]
    assert second["stats"]["input_tokens"] > first["stats"]["input_tokens"]


def test_it_streams(lmstd_client):
    events = list(lmstd_client().chat_stream(TERN, "hello there"))

    said = "".join(event["content"] for event in events if event["type"] == "message.delta")
    assert (events[0]["type"], events[-1]["type"], said) == ("chat.start", "chat.end", "You said: hello there")


def test_its_own_type_of_an_input_item_is_refused(lmstd_client):
    """``lmstd`` follows LM Studio's documentation, which calls a text item ``message``; the server wants ``text``."""
    with pytest.raises(lmstd.LMStdError) as refused:
        lmstd_client().chat(TERN, [{"type": "message", "content": "hello"}])

    assert refused.value.status_code == 400
    assert "Expected 'text' | 'image'" in json.loads(refused.value.response_text)["error"]["message"]


def test_it_takes_a_server_without_the_native_api_for_a_success(lmstd_client):
    """Before 0.4.0 the route is unknown, which LM Studio says with status 200; ``lmstd`` looks at the status only."""
    old = lmstd_client(Settings(version=PROFILES["0.3.31"]))

    assert old.list_models() == {"error": "Unexpected endpoint or method. (GET /api/v1/models)"}


def test_it_sends_a_token(lmstd_client):
    locked = Settings(require_auth=True, tokens=(Token(Secret(TOKEN)),))

    assert lmstd_client(locked, api_token=TOKEN).list_models()["models"]
    with pytest.raises(lmstd.LMStdError, match=r"(?s)401.*token is required"):
        lmstd_client(locked).list_models()
