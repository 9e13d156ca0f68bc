"""Where connections go: as far as the profile allows, to the first address that answers, directly when local."""

import asyncio
import socket
import ssl
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import httpcore
import pytest

from lmroute.model import Locality
from lmroute.providers import dialing
from lmroute.providers.addresses import AddressRefused

TIMEOUTS = {"connect": 10.0, "read": 10.0, "write": 10.0, "pool": 10.0}


def get_sync(url, locality, timeouts):
    with dialing.pool(url, locality) as pool:
        return pool.request("GET", url, extensions={"timeout": timeouts})


def get_async(url, locality, timeouts):
    async def get():
        async with dialing.async_pool(url, locality) as pool:
            return await pool.request("GET", url, extensions={"timeout": timeouts})

    return asyncio.run(get())


@pytest.fixture(params=[get_sync, get_async], ids=["sync", "async"])
def get(request):
    """``get(url, locality, **timeouts)`` through a pool of either kind."""
    return lambda url, locality=Locality.LOOPBACK, **changed: request.param(url, locality, TIMEOUTS | changed)


def test_a_loopback_profile_reaches_a_loopback_server(get, serve):
    server = serve(serve.reply({"ok": True}))
    assert get(server.url).content == b'{"ok": true}'


@pytest.mark.parametrize("locality", [Locality.PRIVATE, Locality.CLOUD])
def test_a_profile_that_may_go_far_may_stay_near(get, serve, locality):
    assert get(serve().url, locality).status == 200


@pytest.mark.parametrize(
    ("locality", "addresses"),
    [
        (Locality.LOOPBACK, ["192.168.1.5"]),
        (Locality.LOOPBACK, ["8.8.8.8"]),
        (Locality.EMBEDDED, ["10.0.0.1"]),
        (Locality.PRIVATE, ["2001:4860:4860::8888"]),
        (Locality.CLOUD, ["169.254.169.254"]),
        (Locality.LOOPBACK, ["127.0.0.1", "8.8.8.8"]),
    ],
)
def test_what_is_too_far_is_refused_before_anything_is_dialled(get, names, dialled, locality, addresses):
    names["box.test"] = addresses
    with pytest.raises(AddressRefused, match=r"^box.test is "):
        get("http://box.test:9/", locality)
    assert dialled == []


def test_the_judged_address_is_the_dialled_one(get, serve, names, dialled, monkeypatch):
    """A name that resolves differently the second time (DNS rebinding) has no second time."""
    server, asked = serve(), []
    names["box.test"] = ["127.0.0.1"]
    judged = socket.getaddrinfo

    def rebinding(host, *args, **kwargs):
        if host in {"box.test", b"box.test"}:
            asked.append(host)
            names["box.test"] = ["127.0.0.1"] if len(asked) == 1 else ["8.8.8.8"]
        return judged(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert get(f"http://box.test:{server.port}/").status == 200
    assert asked == ["box.test"]
    assert set(dialled) == {"127.0.0.1"}


def test_the_server_is_asked_by_its_name(get, serve, names):
    server = serve()
    names["box.test"] = ["127.0.0.1"]
    get(f"http://box.test:{server.port}/v1/models")
    assert f"host: box.test:{server.port}" in server.heads[0].decode().lower()


def test_no_bounds_at_all_are_allowed(get, serve):
    assert get(serve().url, connect=None, read=None, write=None, pool=None).status == 200


def test_the_second_address_answers_when_the_first_refuses(get, serve, names):
    server = serve()
    names["box.test"] = ["::1", "127.0.0.1"]
    assert get(f"http://box.test:{server.port}/").status == 200
    assert len(server.heads) == 1


def test_the_second_address_answers_when_the_first_says_nothing(get, serve, names, silent):
    """As with an IPv6 address behind a router that drops its packets: a share of the time, then the next."""
    server = serve()
    names["box.test"] = ["::1", "127.0.0.1"]
    silent(server.port)
    assert get(f"http://box.test:{server.port}/", connect=1.0).status == 200


def test_when_all_refuse_the_words_are_the_same_in_both_worlds(get, names):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    names["box.test"] = ["::1", "127.0.0.1"]
    with pytest.raises(httpcore.ConnectError, match=r"^connection refused$"):
        get(f"http://box.test:{port}/")


def test_a_name_without_address_is_a_connection_error(get):
    with pytest.raises(httpcore.ConnectError, match="does not resolve"):
        get("http://no-such-name.invalid:1/")


def test_a_redirect_is_an_answer_and_not_followed(get, serve):
    elsewhere = serve()
    server = serve(serve.reply(b"", "302 Found", f"Location: {elsewhere.url}/"))
    assert get(server.url).status == 302
    assert elsewhere.heads == []


def test_a_certificate_that_nobody_trusts_is_refused(get, self_signed):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        shaking = threading.Thread(target=_shake_hands, args=(listener, self_signed))
        shaking.start()
        try:
            with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                get(f"https://127.0.0.1:{listener.getsockname()[1]}/")
        finally:
            shaking.join()


def _shake_hands(listener, context):
    connection, _ = listener.accept()
    with suppress(OSError), connection, context.wrap_socket(connection, server_side=True):
        pass


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory):
    """A server's TLS context with a certificate for 127.0.0.1 that it signed itself."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography, which makes certificates, is missing")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path_factory.mktemp("tls") / "server.pem"
    plain = serialization.NoEncryption()
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_until_is_known_inside_only_and_an_earlier_one_outside_stays():
    assert dialing.deadline() is None
    with dialing.until(100.0):
        with dialing.until(200.0):
            assert dialing.deadline() == 100.0
        with dialing.until(50.0):
            assert dialing.deadline() == 50.0
        assert dialing.deadline() == 100.0
    assert dialing.deadline() is None


def test_patience_runs_out_and_not_below_nothing():
    now = time.monotonic()
    assert 0 < dialing.Patience(now + 60, 1, 1, 1).remaining() <= 60
    assert dialing.Patience(now - 60, 1, 1, 1).remaining() == 0.0
