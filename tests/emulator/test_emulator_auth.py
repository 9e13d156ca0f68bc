"""L16: API tokens. Every token in this file is invented."""

import pytest

from lmroute.emulator.settings import Settings, Token
from lmroute.errors import LmrouteError
from lmroute.model import Secret

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
FULL = "sk-lm-AbCd1234:abcdefghij0123456789"
LIMITED = "sk-lm-ReadOnly:abcdefghij0123456789"
UNKNOWN = "sk-lm-Nobody00:abcdefghij0123456789"
LOCKED = Settings(require_auth=True, tokens=(Token(Secret(FULL)), Token(Secret(LIMITED), read_only=True)))
MISSING = (
    "An LM Studio API token is required to make requests to this server, but none was provided using the "
    "Authorization header using the 'Bearer' scheme (i.e., 'Authorization: Bearer $LM_API_TOKEN'). "
    "Learn more at: https://lmstudio.ai/docs/developer/core/authentication."
)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", ["/v1/models", "/api/v0/models", "/api/v1/models", "/unknown"])
@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer"}, {"x-api-key": FULL}]
)
def test_l16_no_token_is_401(shared, path, headers):
    reply = shared(LOCKED).get(path, headers=headers)

    assert reply.status_code == 401
    assert reply.json() == {"error": {"type": "invalid_request", "code": "invalid_api_key", "message": MISSING}}


@pytest.mark.parametrize("token", ["lm-studio", "fake-api-key", FULL + "x", FULL[:-1], "sk-lm-"])
def test_l16_a_token_of_another_form_is_malformed(shared, token):
    reply = shared(LOCKED).get("/v1/models", headers=bearer(token))

    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (401, "invalid_api_key")
    assert error["message"] == (
        f"Malformed LM Studio API token provided: {token[:10]}**************. Ensure you are using a valid token."
    )


def test_l16_an_unknown_token_is_401(shared):
    reply = shared(LOCKED).get("/v1/models", headers=bearer(UNKNOWN))

    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    assert "Nobody00" not in reply.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_l16_a_valid_token_may_do_everything(shared, scheme):
    client, valid = shared(LOCKED), {"Authorization": f"{scheme} {FULL}"}

    assert client.get("/api/v1/models", headers=valid).json()["models"]
    assert client.post(CHAT, json={"messages": HELLO}, headers=valid).json()["choices"]
    assert client.get("/unknown", headers=valid).json()["error"].startswith("Unexpected endpoint")


def test_l16_a_token_without_permission_is_403(shared):
    client = shared(LOCKED)

    refused = client.post(CHAT, json={"messages": HELLO}, headers=bearer(LIMITED))

    error = refused.json()["error"]
    assert client.get("/v1/models", headers=bearer(LIMITED)).status_code == 200
    assert refused.status_code == 403
    assert (error["type"], error["param"], error["code"]) == ("invalid_request", None, None)
    assert error["message"].startswith("Permission denied to use ")


def test_l16_x_api_key_counts_for_messages_only(shared):
    client = shared(LOCKED)
    key = {"x-api-key": FULL}

    hello = {"max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}

    assert client.post("/v1/messages", json=hello, headers=key).json()["content"][0]["text"] == "You said: hello"
    assert client.post("/v1/messages", json={}).status_code == 401
    assert client.post(CHAT, json={}, headers=key).status_code == 401


def test_l16_the_greeting_is_free(shared):
    assert shared(LOCKED).get("/lmstudio-greeting").json() == {"lmstudio": True}


def test_l16_without_the_setting_any_token_or_none_is_accepted(client):
    assert client.get("/v1/models", headers=bearer("whatever")).status_code == 200
    assert client.ask().status_code == 200


def test_tokens_show_themselves_nowhere():
    assert FULL not in repr(LOCKED)
    with pytest.raises(LmrouteError) as refused:
        Token(Secret("my-secret"))
    assert "my-secret" not in str(refused.value)
