"""How far away an address is, and which addresses of a name are dialled."""

import ipaddress
import socket
import threading

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import Locality
from lmroute.providers.addresses import AddressRefused, check_reach, locality_of, resolve, server_of

NEVER = None
ADDRESSES = {
    "127.0.0.1": Locality.LOOPBACK,
    "127.255.255.254": Locality.LOOPBACK,
    "::1": Locality.LOOPBACK,
    "::ffff:127.0.0.1": Locality.LOOPBACK,
    "10.1.2.3": Locality.PRIVATE,
    "172.31.255.255": Locality.PRIVATE,
    "192.168.1.5": Locality.PRIVATE,
    "::ffff:192.168.1.5": Locality.PRIVATE,
    "100.64.0.1": Locality.PRIVATE,  # carrier-grade NAT, Tailscale
    "100.127.255.255": Locality.PRIVATE,
    "::ffff:100.64.0.1": Locality.PRIVATE,
    "fd12:3456::1": Locality.PRIVATE,
    "172.32.0.1": Locality.CLOUD,
    "100.63.255.255": Locality.CLOUD,
    "100.128.0.1": Locality.CLOUD,
    "8.8.8.8": Locality.CLOUD,
    "::ffff:8.8.8.8": Locality.CLOUD,
    "2001:4860:4860::8888": Locality.CLOUD,
    "64:ff9b::808:808": Locality.CLOUD,  # 8.8.8.8 in a network without IPv4
    "64:ff9b::7f00:1": NEVER,  # a gateway's loopback, not ours
    "64:ff9b::a9fe:a9fe": NEVER,
    "169.254.169.254": NEVER,  # the metadata service of a cloud machine
    "::ffff:169.254.169.254": NEVER,
    "fe80::1": NEVER,
    "fe80::1%eth0": NEVER,
    "0.0.0.0": NEVER,
    "::": NEVER,
    "::ffff:0.0.0.0": NEVER,
    "224.0.0.1": NEVER,
    "239.255.255.250": NEVER,
    "ff02::1": NEVER,
    "240.0.0.1": NEVER,
    "255.255.255.255": NEVER,
    "::7f00:1": NEVER,  # ::127.0.0.1, the form that IPv6 gave up
}


@pytest.mark.parametrize(("address", "expected"), ADDRESSES.items(), ids=ADDRESSES)
def test_how_far_an_address_is(address, expected):
    assert locality_of(address) is expected


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_ipv6_is_as_far_as_itself(address):
    assert locality_of(f"::ffff:{address}") is locality_of(str(address))


@given(st.ip_addresses())
def test_near_means_that_the_address_says_so(address):
    """Whatever the order of the checks: nothing global is near, nothing that is not loopback is on this machine."""
    found = locality_of(str(address))
    inner = getattr(address, "ipv4_mapped", None) or address
    if found is Locality.LOOPBACK:
        assert inner in ipaddress.ip_network("127.0.0.0/8" if inner.version == 4 else "::1/128")
    if inner.is_global and not inner.is_multicast:
        assert found in {Locality.CLOUD, NEVER}


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", set(Locality)),
        ("::1", set(Locality)),
        ("192.168.1.5", {Locality.PRIVATE, Locality.CLOUD}),
        ("8.8.8.8", {Locality.CLOUD}),
        ("169.254.169.254", set()),
    ],
)
def test_a_profile_reaches_as_far_as_its_locality(address, allowed):
    for locality in Locality:
        if locality in allowed:
            assert check_reach("box.test", [address], locality) == [address]
        else:
            with pytest.raises(AddressRefused, match=f"^box.test is {address}, "):
                check_reach("box.test", [address], locality)


def test_one_address_too_far_is_enough_to_refuse_the_name():
    with pytest.raises(AddressRefused) as raised:
        check_reach("box.test", ["127.0.0.1", "8.8.8.8"], Locality.PRIVATE)
    assert str(raised.value) == "box.test is 8.8.8.8, a cloud address, but the profile says locality: private"


def test_a_link_local_address_beside_a_real_one_is_left_out():
    assert check_reach("mini.local", ["fe80::2%en0", "192.168.1.5"], Locality.PRIVATE) == ["192.168.1.5"]


def test_only_addresses_that_are_never_dialled_are_refused_in_their_own_words():
    with pytest.raises(AddressRefused, match=r"is 169.254.169.254, an address that is never dialled"):
        check_reach("metadata.test", ["169.254.169.254"], Locality.CLOUD)


@pytest.mark.parametrize("spelling", ["127.1", "2130706433", "0x7f.0.0.1", "localhost"])
def test_other_spellings_are_judged_by_where_they_lead(spelling):
    addresses = resolve(spelling, 80, 5)
    assert {locality_of(address) for address in addresses} == {Locality.LOOPBACK}


def test_zero_leads_to_an_address_that_is_never_dialled():
    with pytest.raises(AddressRefused):
        check_reach("0", resolve("0", 80, 5), Locality.CLOUD)


def test_an_address_is_listed_once(names):
    names["box.test"] = ["127.0.0.1", "::1", "127.0.0.1"]
    assert resolve("box.test", 80, 5) == ["127.0.0.1", "::1"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "it is no host name"),
    ],
)
def test_a_name_without_address_says_so(monkeypatch, error, words):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(httpcore.ConnectError, match=f"^no.test does not resolve: {words}$"):
        resolve("no.test", 80, 5)


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch):
    release = threading.Event()

    def hang(*args, **kwargs):
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with pytest.raises(httpcore.ConnectError, match=r"^slow.test does not resolve in time$"):
            resolve("slow.test", 80, 0.05)
        assert not release.is_set()
    finally:
        release.set()


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1234",
        "http://LOCALHOST.:1234/v1",
        "http://me.localhost:1234",
        "http://127.0.0.1:1234/api/v1",
        "http://127.0.1.1:1234",
        "http://[::1]:1234",
        "http://[::ffff:127.0.0.1]:1234",
        "http://me:hunter2@localhost:1234",
    ],
)
def test_this_machine_is_the_same_server_by_every_name(url):
    assert server_of(url) == "localhost:1234"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://Den.local:1234/v1", "den.local:1234"),
        ("http://den.local", "den.local:80"),
        ("https://den.local", "den.local:443"),
        ("http://localhost", "localhost:80"),
        ("http://192.168.1.20:1234", "192.168.1.20:1234"),
        ("http://[fd00::7]:1234", "[fd00::7]:1234"),
        ("http://me:hunter2@den.local:far", "den.local:far"),
    ],
)
def test_a_server_has_a_host_and_a_port(url, server):
    assert server_of(url) == server
