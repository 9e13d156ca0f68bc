"""The environment's proxy carries cloud traffic and never local traffic."""

import base64

import httpcore
import pytest

from lmroute.errors import ServerUnreachable
from lmroute.model import Locality
from lmroute.providers import dialing
from lmroute.providers.http import get_json

CLOUD_URL = "http://api.example.test/v1/models"


@pytest.fixture
def proxy(serve, monkeypatch):
    """A proxy that answers everything itself and that the environment names for HTTP."""
    server = serve(serve.reply({"by": "proxy"}))
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    return server


def test_a_cloud_profile_goes_through_the_proxy(proxy):
    """The proxy resolves the name; we never could."""
    assert get_json(CLOUD_URL, locality=Locality.CLOUD).body == {"by": "proxy"}
    assert proxy.heads[0].startswith(b"GET http://api.example.test/v1/models HTTP/1.1")


@pytest.mark.parametrize("locality", [Locality.EMBEDDED, Locality.LOOPBACK, Locality.PRIVATE])
def test_local_traffic_does_not(proxy, serve, locality):
    server = serve(serve.reply({"by": "server"}))
    assert get_json(server.url, locality=locality).body == {"by": "server"}
    assert proxy.heads == []


def test_a_name_of_this_network_does_not_leak_to_the_proxy(proxy):
    with pytest.raises(ServerUnreachable, match="does not resolve"):
        get_json("http://no-such-name.invalid/v1/models", locality=Locality.PRIVATE)
    assert proxy.heads == []


def test_hosts_that_need_no_proxy_are_asked_directly(proxy, serve, monkeypatch):
    server = serve(serve.reply({"by": "server"}))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert get_json(server.url, locality=Locality.CLOUD).body == {"by": "server"}
    assert proxy.heads == []


def test_https_is_tunnelled(serve, monkeypatch):
    proxy = serve(serve.reply(b"", "403 Forbidden"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("https_proxy", proxy.url)
    with pytest.raises(ServerUnreachable, match=r"^https://api.example.test/: proxy: 403 Forbidden$"):
        get_json("https://api.example.test/", locality=Locality.CLOUD)
    assert proxy.heads[0].startswith(b"CONNECT api.example.test:443 HTTP/1.1")


@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy"])
def test_one_proxy_for_all(serve, monkeypatch, variable):
    proxy = serve(serve.reply({"by": "proxy"}))
    monkeypatch.setenv(variable, proxy.url)
    assert get_json(CLOUD_URL, locality=Locality.CLOUD).body == {"by": "proxy"}


def test_a_proxy_without_scheme_is_an_http_one(proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
    assert get_json(CLOUD_URL, locality=Locality.CLOUD).body == {"by": "proxy"}


def test_a_proxy_gets_its_password(proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
    get_json(CLOUD_URL, locality=Locality.CLOUD)
    expected = base64.b64encode(b"me:p@ss")
    assert b"proxy-authorization: basic " + expected.lower() in proxy.heads[0].lower()
    assert expected in proxy.heads[0]


def test_a_socks_proxy_is_an_error_that_says_so(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1080")
    with pytest.raises(httpcore.ProxyError, match="socks5 is not supported; set HTTP_PROXY to an HTTP one"):
        dialing.pool(CLOUD_URL, Locality.CLOUD)
    with pytest.raises(ServerUnreachable, match="proxy: socks5 is not supported; set HTTP_PROXY to an HTTP one"):
        get_json(CLOUD_URL, locality=Locality.CLOUD)
