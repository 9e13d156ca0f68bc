import pytest

from lmroute.model import Locality, Profile
from lmroute.validate.localities import contradiction


def profile(locality, endpoint, **rest):
    return Profile(id="x", endpoint=endpoint, locality=Locality(locality), **{"type": "openai_compatible", **rest})


@pytest.mark.parametrize(
    ("locality", "endpoint"),
    [
        ("loopback", "http://127.0.0.1:1234"),
        ("loopback", "http://127.8.9.1:1234/v1"),
        ("loopback", "http://[::1]:1234"),
        ("loopback", "http://localhost:1234"),
        ("loopback", "http://llm.localhost"),
        ("private", "http://10.0.0.7:1234"),
        ("private", "http://[fd00::1]"),
        ("private", "http://gpu-box:8000"),
        ("private", "http://127.0.0.1:1234"),
        ("cloud", "http://127.0.0.1:1234"),
        ("cloud", "https://8.8.8.8"),
        ("cloud", None),
    ],
)
def test_a_locality_that_may_be_true(locality, endpoint):
    assert contradiction(profile(locality, endpoint)) is None


@pytest.mark.parametrize(
    ("locality", "endpoint", "nearest"),
    [
        ("loopback", "http://10.0.0.7:1234", Locality.PRIVATE),
        ("loopback", "http://gpu-box:8000", Locality.PRIVATE),
        ("loopback", "http://127.0.0.1.evil.example", Locality.CLOUD),
        ("loopback", "http://notlocalhost", Locality.PRIVATE),
        ("loopback", "https://8.8.8.8/v1", Locality.CLOUD),
        ("private", "https://8.8.8.8/v1", Locality.CLOUD),
        ("private", "https://[2606:4700::1111]", Locality.CLOUD),
        ("loopback", None, Locality.CLOUD),
        ("private", None, Locality.CLOUD),
    ],
)
def test_a_locality_that_cannot_be_true(locality, endpoint, nearest):
    found = contradiction(profile(locality, endpoint))
    assert found is not None
    assert found[1] is nearest
    assert contradiction(profile(nearest.value, endpoint)) is None


def test_models_that_ollama_hands_on_to_its_cloud():
    here = profile("loopback", "http://127.0.0.1:11434", type="ollama", models=("qwen3:8b", "auto"))
    away = profile("loopback", "http://127.0.0.1:11434", type="ollama", models=("qwen3:8b", "gpt-oss:120b-cloud"))
    assert contradiction(here) is None
    assert contradiction(away) == ("Ollama runs 'gpt-oss:120b-cloud' in the cloud", Locality.CLOUD)


def test_the_embedded_model_is_where_it_says():
    assert contradiction(profile("embedded", None, type="embedded")) is None
