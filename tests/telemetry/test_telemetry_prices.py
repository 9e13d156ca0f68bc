"""What a call cost: whose price counts, that LiteLLM's list is read as it is, and that nothing is guessed."""

import json
import logging
import math
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import Cost, Locality, Profile
from lmroute.providers.catalog import TYPES
from lmroute.telemetry import pricelist, prices
from lmroute.telemetry.prices import UNKNOWN, Price, charged, price_of

LOCAL = (Locality.EMBEDDED, Locality.LOOPBACK, Locality.PRIVATE)
COUNTS = st.none() | st.integers(-10, 10**6) | st.integers()


def profile(type_="openai", **fields):
    return Profile("p", type_, **fields)


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """LiteLLM's list is another one: ``listed({"gpt-x": {...}})``, text or bytes as they are, ``None`` for no file."""

    def put(content):
        package = tmp_path / "litellm"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("raise RuntimeError('LiteLLM was imported')", encoding="utf-8")
        if content is not None:
            data = content if isinstance(content, bytes) else json.dumps(content, indent=4).encode()
            (package / "model_prices_and_context_window_backup.json").write_bytes(data)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "litellm", raising=False)

    prices._price.cache_clear()
    pricelist._say_once.cache_clear()
    yield put
    prices._price.cache_clear()
    pricelist._say_once.cache_clear()


def model(**fields):
    usual = {"input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06}
    return {**usual, "litellm_provider": "openai", "mode": "chat", **fields}


class TestWhosePriceItIs:
    def test_the_profiles_own_wins(self):
        price = price_of(profile(cost=Cost(7, 9)), "gpt-4.1-mini")
        assert (price.source, price.cost) == ("profile", Cost(7, 9))

    @pytest.mark.parametrize("locality", LOCAL)
    @pytest.mark.parametrize("cost", [None, Cost()])
    @pytest.mark.parametrize("name", ["smollm2", "gpt-4.1-mini"])  # a local server calls its model what it likes
    def test_local_is_free_whatever_the_model_is_called(self, locality, cost, name):
        price = price_of(profile("openai", locality=locality, cost=cost), name)
        assert (price.source, price.cost, charged(price, None, None)) == ("local", Cost(), 0.0)

    def test_a_local_server_may_have_a_price(self):
        assert price_of(profile("vllm", locality=Locality.PRIVATE, cost=Cost(1, 1)), "m").source == "profile"

    def test_a_cloud_that_the_profile_says_is_free_is_free(self):
        price = price_of(profile(cost=Cost()), "gpt-4.1-mini")
        assert (price.source, charged(price, 10, 10)) == ("profile", 0.0)

    @pytest.mark.parametrize(
        ("type_", "endpoint", "name", "cost"),
        [
            ("openai", None, "gpt-4.1-mini", Cost(0.4, 1.6)),
            ("openai", "https://api.openai.com/v1", "gpt-4.1-mini-2025-04-14", Cost(0.4, 1.6)),
            ("anthropic", None, "claude-haiku-4-5-20251001", Cost(1, 5)),
            ("openai_compatible", "https://api.groq.com/openai/v1", "openai/gpt-oss-20b", Cost(0.075, 0.3)),
            ("litellm", None, "groq/openai/gpt-oss-20b", Cost(0.075, 0.3)),
            ("litellm", None, "openai/gpt-4.1-mini", Cost(0.4, 1.6)),
            ("litellm", "https://api.openai.com/v1", "openai/gpt-4.1-mini", Cost(0.4, 1.6)),
            ("litellm", None, "gpt-4.1-mini", Cost(0.4, 1.6)),
            ("litellm", "https://mine.openai.azure.com", "azure/gpt-4.1-mini", Cost(0.4, 1.6)),
            ("litellm", None, "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0", Cost(1.1, 5.5)),
            ("litellm", None, "gemini/gemini-2.5-flash", Cost(0.3, 2.5)),
            ("gemini", None, "gemini-2.5-flash", Cost(0.3, 2.5)),
        ],
    )
    def test_else_what_the_installed_litellm_lists(self, type_, endpoint, name, cost):
        price = price_of(profile(type_, endpoint=endpoint), name)
        assert (price.source, price.cost) == ("litellm", cost)

    @pytest.mark.parametrize(
        ("type_", "endpoint", "name"),
        [
            ("openai", None, "gpt-4.1-mini-2031-01-01"),  # a similar one is listed
            ("openai", None, "gpt-4.1-min"),
            ("openai", None, "auto"),
            ("openai", None, ""),
            ("openai", None, "claude-haiku-4-5"),  # somebody else's
            ("openai", None, "groq/openai/gpt-oss-20b"),
            ("anthropic", None, "gpt-4.1-mini"),
            ("openai", None, "sample_spec"),
            ("openai", None, "input_cost_per_token"),
            ("openai", None, "search_context_cost_per_query"),  # an object, but no model
            ("openai", "https://gateway.example/v1", "gpt-4.1-mini"),  # who knows what they take
            ("openai_compatible", "https://gateway.example/v1", "gpt-4.1-mini"),
            ("openai_compatible", "http://[::1", "gpt-4.1-mini"),
            ("vllm", "https://gpu.example/v1", "openai/gpt-oss-20b"),
            ("lmstudio", None, "gpt-4.1-mini"),
            ("litellm", "https://gateway.example/v1", "openai/gpt-4.1-mini"),
            ("litellm", "https://api.groq.com/openai/v1", "openai/gpt-4.1-mini"),
            ("litellm", "https://gateway.example/v1", "gpt-4.1-mini"),
        ],
    )
    def test_else_nobody_knows_and_nothing_is_guessed(self, type_, endpoint, name):
        price = price_of(profile(type_, endpoint=endpoint), name)
        assert (price, charged(price, 10, 10)) == (UNKNOWN, None)
        assert price.cost is None

    def test_the_services_are_those_of_the_catalogue(self):
        fixed = {name: urlsplit(row.endpoint).hostname for name, row in TYPES.items() if row.endpoint}
        assert {name: prices._VENDORS[host] for name, host in fixed.items()} == {name: name for name in fixed}
        assert set(fixed) == prices._SERVICES


class TestTheList:
    def test_longer_prompts_and_caches_have_prices_of_their_own(self, listed):
        longer = {"input_cost_per_token_above_200k_tokens": 2e-06, "output_cost_per_token_above_200k_tokens": 6e-06}
        listed({"gpt-x": model(cache_read_input_token_cost=1e-07, cache_creation_input_token_cost=2e-06, **longer)})
        price = price_of(profile(), "gpt-x")
        assert charged(price, 200_000, 0) == pytest.approx(0.2)
        assert charged(price, 200_001, 1_000_000) == pytest.approx(0.400002 + 6)
        assert charged(price, 1_000, 0, 1_000) == pytest.approx(0.0001)
        assert charged(price, 1_000, 0, 400, 500) == pytest.approx((400 * 0.1 + 500 * 2 + 100) / 1e6)
        assert charged(price, 300_000, 0, 300_000) == pytest.approx(0.03)

    def test_caches_without_a_price_cost_what_all_tokens_do(self, listed):
        listed({"gpt-x": model()})
        assert charged(price_of(profile(), "gpt-x"), 1_000, 0, 700, 300) == pytest.approx(0.001)

    @pytest.mark.parametrize(
        "odd",
        [
            {"input_cost_per_token": 0, "output_cost_per_token": 0},
            {"input_cost_per_token": None},
            {"output_cost_per_token": "4e-06"},
            {"input_cost_per_token": -1e-06},
            {"input_cost_per_token": True},
            {"input_cost_per_token": math.inf},
            {"input_cost_per_token": math.nan},
            {"mode": "audio_speech"},
            {"mode": None},
            {"litellm_provider": 7},
            {"litellm_provider": "azure"},
            {"input_cost_per_request": 0.005},
            {"tiered_pricing": [{"range": [0, 1000], "input_cost_per_token": 1e-06}]},
            {"off_peak_pricing": {"input_cost_per_token": 1e-07}},
            {"output_cost_per_reasoning_token": 9e-06},
        ],
        ids=str,
    )
    def test_what_is_no_price_by_tokens_is_none(self, listed, odd):
        listed({"gpt-y": model(), "gpt-x": model(**odd)})
        assert price_of(profile(), "gpt-x") == UNKNOWN
        assert price_of(profile(), "gpt-y").source == "litellm"

    @pytest.mark.parametrize(
        "file",
        [
            None,
            b"",
            b"\x00\xff" * 999,
            b'{"gpt-x": {"litellm_provider": "openai", ',
            b'{"gpt-x": {"a": ' + b"[" * 60_000,
        ],
        ids=["none", "empty", "bytes", "torn", "deep"],
    )
    def test_a_missing_or_odd_file_is_said_once_and_fails_nobody(self, listed, file, caplog):
        listed(file)
        with caplog.at_level(logging.DEBUG, "lmroute.telemetry"):
            assert [price_of(profile(), "gpt-x"), price_of(profile("litellm"), "gpt-x")] == [UNKNOWN] * 2
        assert len(caplog.records) == (0 if file is not None and b"gpt" not in file else 1)

    @pytest.mark.parametrize("spec", [None, ValueError("litellm.__spec__ is None")])
    def test_without_litellm_nothing_is_known(self, listed, monkeypatch, spec):
        def find(name):
            if spec:
                raise spec
            return spec

        monkeypatch.setattr(pricelist.importlib.util, "find_spec", find)
        assert price_of(profile(), "gpt-4.1-mini") == UNKNOWN

    def test_however_the_file_is_laid_out(self, listed):
        listed(json.dumps({"a": model(source='say "gpt-x": none'), "gpt-x": model()}, separators=(",", ":")).encode())
        assert price_of(profile(), "gpt-x").cost == Cost(1, 4)

    def test_every_model_of_the_installed_list_is_read_as_a_parser_reads_it(self, monkeypatch):
        data = pricelist._contents()
        monkeypatch.setattr(pricelist, "_contents", lambda: data)
        parsed = json.loads(data)
        names = sorted(parsed)[::40]  # all of them take ten seconds
        assert len(parsed) > 1000
        for name in names:
            entry = parsed[name]
            assert pricelist._entry(data, name) == (entry if isinstance(entry.get("litellm_provider"), str) else None)
            for rates in pricelist._rates(entry):
                assert 0 <= rates.cached <= 1e6
                assert (rates.input, rates.output) != (0, 0)

    def test_it_is_read_once_for_a_model(self, listed, monkeypatch):
        reads = []
        monkeypatch.setattr(pricelist, "_contents", lambda: reads.append(1) or b"")
        threads = [threading.Thread(target=price_of, args=(profile(), "gpt-x")) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        before = len(reads)
        for name in ["gpt-x"] * 50:
            price_of(profile(), name)
        assert 1 <= before <= 4
        assert len(reads) == before


class TestACall:
    price = Price("profile", (pricelist.Rates(1, 4, 1, 1),))

    def test_by_example(self):
        assert charged(self.price, 1_000, 500) == pytest.approx(0.003)
        assert charged(self.price, 0, 0) == 0

    @pytest.mark.parametrize("told", [(None, 5), (5, None), (None, None), (-1, 5), (5, 10**9)])
    def test_tokens_that_nobody_told_have_no_cost(self, told):
        assert charged(self.price, *told) is None

    @given(COUNTS, COUNTS, COUNTS, COUNTS)
    def test_a_cost_is_no_less_than_the_cheapest_tokens_and_no_more_than_the_dearest(self, prompt, answer, read, new):
        price = Price("litellm", (pricelist.Rates(2, 8, 0.5, 3), pricelist.Rates(4, 9, 1, 6, above=1000)))
        usd = charged(price, prompt, answer, read, new)
        known = all(count is not None and 0 <= count <= 10**8 for count in (prompt, answer))
        assert (usd is not None) == known
        if known:
            assert (prompt * 0.5 + answer * 8) / 1e6 <= usd * (1 + 1e-12)
            assert usd <= (prompt * 6 + answer * 9) / 1e6 * (1 + 1e-12)


def test_neither_litellm_nor_the_network_is_needed():
    """In a process of its own, where nothing else has imported either. ``sys.audit`` tells of each socket."""
    program = """
import sys
sys.addaudithook(lambda event, args: event.startswith("socket.") and sys.exit(f"{event} {args}"))
from lmroute.model import Profile
from lmroute.telemetry.prices import price_of
assert price_of(Profile("p", "openai"), "gpt-4.1-mini").source == "litellm"
assert price_of(Profile("p", "openai"), "gpt-nobody").source is None
found = {"litellm", "dspy", "httpx", "socket"} & set(sys.modules)
assert not found, found
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
