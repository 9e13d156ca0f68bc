"""L01, L02, L16: who it is, what it does not know, whom it lets in."""

import pytest

from lmroute.providers import contract

from .endpoint import said

UNKNOWN_TOKEN = "sk-lm-Zyxwvut9:Zyxwvutsrq9876543210"


def test_l01_the_greeting_is_these_bytes(server, seen):
    reply = server.bare.get("/lmstudio-greeting")
    if reply.status_code == 401:
        seen("the greeting needs a token")
        reply = server.http.get("/lmstudio-greeting")
    assert (reply.status_code, reply.content) == (200, b'{"lmstudio":true}')
    assert reply.headers["content-type"].startswith("application/json")
    assert contract.problems("greeting", reply.json()) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models"),
        ("GET", "/v1//models"),
        ("GET", "/api/version"),
        ("POST", "/chat/completions"),
        ("POST", "/v1/models"),
        ("PUT", "/v1/chat/completions"),
        ("PATCH", "/v1/models"),
        ("DELETE", "/v1/models"),
    ],
)
def test_l02_an_unknown_route_is_an_error_of_status_200(server, method, path):
    reply = server.http.request(method, path)
    assert (reply.status_code, reply.json()) == (200, {"error": f"Unexpected endpoint or method. ({method} {path})"})
    assert contract.problems("error", reply.json()) == []


def test_l02_a_preflight_is_an_unknown_route_unless_cors_is_on(server, seen):
    reply = server.http.options("/v1/completions")
    if "access-control-allow-origin" in reply.headers:
        seen("CORS is on")
        return
    expected = {"error": "Unexpected endpoint or method. (OPTIONS /v1/completions)"}
    assert (reply.status_code, reply.json()) == (200, expected)


def test_l02_a_query_may_be_repeated(server, seen):
    told = said(server.body("/v1/nothing?beta=true"))
    assert told.startswith("Unexpected endpoint or method. (GET /v1/nothing")
    seen("the query is " + ("repeated" if "beta" in told else "left out"))


@pytest.mark.stage("guarded")
@pytest.mark.parametrize("path", ["/v1/models", "/api/v0/models", "/api/v1/models"])
def test_l16_without_a_token_nothing_is_told(server, path):
    reply = server.bare.get(path)
    assert reply.status_code == 401
    assert contract.problems("error", reply.json()) == []
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request", "invalid_api_key")
    assert "API token is required" in error["message"]


@pytest.mark.stage("guarded")
@pytest.mark.parametrize("token", ["lm-studio", "no-token-at-all"])
def test_l16_what_is_no_token_is_called_malformed_and_only_its_beginning_is_shown(server, token):
    reply = server.bare.get("/v1/models", headers={"Authorization": f"Bearer {token}"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    assert said(reply.json()).startswith(f"Malformed LM Studio API token provided: {token[:10]}***")


@pytest.mark.stage("guarded")
def test_l16_a_well_formed_token_that_nobody_made_is_refused(server, seen):
    reply = server.bare.get("/v1/models", headers={"Authorization": f"Bearer {UNKNOWN_TOKEN}"})
    assert reply.status_code == 401
    assert contract.problems("error", reply.json()) == []
    seen(f"an unknown token: {said(reply.json())}")


@pytest.mark.stage("guarded")
def test_l16_the_right_token_opens_every_list(server):
    assert [server.http.get(path).status_code for path in ("/v1/models", "/api/v1/models")] == [200, 200]


@pytest.mark.stage("guarded")
def test_l16_x_api_key_counts_for_messages_only(server):
    key = {"x-api-key": server.http.headers["authorization"].removeprefix("Bearer ")}
    assert server.bare.get("/v1/models", headers=key).status_code == 401
    assert server.bare.post("/v1/messages", json={}, headers=key).status_code != 401


def test_l16_where_no_token_is_needed_any_is_taken(server):
    if server.bare.get("/v1/models").status_code == 401:
        pytest.skip("the server asks for API tokens")
    for token in ("lm-studio", UNKNOWN_TOKEN):
        assert server.bare.get("/v1/models", headers={"Authorization": f"Bearer {token}"}).status_code == 200
