"""L01 and L02: what the server says it is, and what it says about routes it does not have."""

import pytest

from lmroute.emulator.settings import Settings
from lmroute.emulator.versions import PROFILES


def test_l01_the_greeting_is_exactly_these_bytes(client):
    reply = client.get("/lmstudio-greeting")

    assert reply.content == b'{"lmstudio":true}'
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.headers["x-powered-by"] == "Express"
    assert "server" not in reply.headers


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/models", "/v1", "/v1//models", "/v1/models/", "/v1/models/unload"])
def test_l02_an_unknown_route_is_an_error_of_status_200(client, method, path):
    reply = client.request(method, path)

    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.text == f'{{"error":"Unexpected endpoint or method. ({method} {path})"}}'


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models"),
        ("DELETE", "/api/v1/models"),
        ("GET", "/v1/chat/completions"),
        ("OPTIONS", "/v1/chat/completions"),
        ("POST", "/lmstudio-greeting"),
    ],
)
def test_l02_a_known_path_with_another_method_is_unknown(client, method, path):
    reply = client.request(method, path)

    assert (reply.status_code, reply.json()) == (
        200,
        {"error": f"Unexpected endpoint or method. ({method} {path})"},
    )


def test_l02_the_query_is_not_repeated(client):
    assert client.get("/nowhere?beta=true").json() == {"error": "Unexpected endpoint or method. (GET /nowhere)"}


def test_l02_head_of_an_unknown_route_has_the_status_alone(client):
    reply = client.head("/nowhere")

    assert (reply.status_code, reply.content) == (200, b"")
    assert int(reply.headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("profile", "path", "known"),
    [
        ("0.3.5", "/v1/responses", False),
        ("0.3.31", "/v1/responses", True),
        ("0.3.31", "/v1/messages", False),
        ("0.4.25", "/v1/messages", True),
        ("0.3.31", "/api/v1/chat", False),
        ("0.4.25", "/api/v1/chat", True),
        ("0.3.31", "/api/v1/models/load", False),
        ("0.3.31", "/api/v1/models/unload", False),
        ("0.3.31", "/api/v1/models/download", False),
        ("0.4.25", "/api/v1/models/download", True),
        ("0.3.5", "/api/v0/chat/completions", False),
        ("0.3.31", "/api/v0/chat/completions", True),
        ("0.3.5", "/api/v0/embeddings", False),
        ("0.3.5", "/v1/embeddings", True),
        ("0.3.5", "/v1/completions", True),
    ],
)
def test_l02_a_release_does_not_know_routes_of_later_ones(shared, profile, path, known):
    reply = shared(Settings(version=PROFILES[profile])).post(path, json={})

    assert reply.status_code == (400 if known else 200)
