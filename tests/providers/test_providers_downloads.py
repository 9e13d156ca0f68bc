"""Downloads by LM Studio, over the real emulator's manual clock: watched, left, joined, and ended in every way."""

from contextlib import contextmanager

import pytest

from lmroute.emulator.catalog import Model
from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings
from lmroute.errors import LmrouteError, ModelMissing, ProviderUnavailable
from lmroute.model import Locality, Profile
from lmroute.providers.catalog import TYPES, base_url
from lmroute.providers.http import WIRE_ERRORS
from lmroute.providers.inventory import LISTINGS, opened
from lmroute.providers.lmstudio.downloads import Progress, Status, download

NEW = "test/new-1b"
LINK = f"https://huggingface.co/{NEW}"


@pytest.fixture(scope="module")
def _emulator():
    disk, offer = (Model("test/old-1b"),), (Model(NEW, size_bytes=1000),)
    settings = Settings(models=disk, downloadable=offer, download_bytes_per_s=100, clock="manual")
    with running(settings) as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator):
    """A kilobyte comes at 100 bytes a second of a clock that stands still."""
    _emulator.reset()
    return _emulator


def opener(url):
    profile = Profile("desk", "lmstudio", endpoint=url, locality=Locality.LOOPBACK)

    @contextmanager
    def open_line():
        with opened(profile, base_url(profile), LISTINGS[TYPES["lmstudio"].dialect], None, total_s=5) as line:
            yield line

    return open_line


def watch(emulator, model=NEW, quantization=None, step=4):
    return list(download(opener(emulator.url), model, quantization, wait=lambda _: emulator.advance(step)))


def test_it_is_told_how_far_it_is_until_it_is_there(emulator):
    told = watch(emulator)

    assert [(now.status, now.done) for now in told] == [
        (Status.DOWNLOADING, 0),
        (Status.DOWNLOADING, 400),
        (Status.DOWNLOADING, 800),
        (Status.COMPLETED, 1000),
    ]
    assert (told[1].total, told[1].bytes_per_s, told[1].left_s) == (1000, 100, 6)
    assert len({now.job for now in told}) == 1
    assert NEW in {model["key"] for model in emulator.state()["models"]}


def test_what_is_there_already_is_told_once(emulator):
    assert watch(emulator, "test/old-1b") == [Progress(Status.ALREADY_DOWNLOADED)]


def test_who_leaves_stops_nothing_and_joins_again(emulator):
    leaving = download(opener(emulator.url), NEW, wait=lambda _: emulator.advance(4))
    first = [next(leaving), next(leaving)][-1]
    leaving.close()

    again = watch(emulator)

    assert again[0].job == first.job
    assert again[1].done == 800
    assert len(emulator.state()["downloads"]) == 1


@pytest.mark.parametrize("end", [Status.PAUSED, Status.FAILED])
def test_a_download_that_stops_is_over(emulator, end):
    emulator.set_faults(download=end.value)
    last = watch(emulator)[-1]
    assert (last.status, last.done, last.is_over) == (end, 500, True)


def test_a_server_that_forgot_it_says_how_to_ask_again(emulator):
    watching = download(opener(emulator.url), NEW, wait=lambda _: emulator.reset())
    next(watching)
    with pytest.raises(ProviderUnavailable, match=f"has forgotten the download of {NEW}") as raised:
        next(watching)
    assert f"lmroute models download {NEW}" in str(raised.value)


def test_a_question_that_goes_wrong_is_asked_again(emulator):
    emulator.advance(1)
    watching = download(opener(emulator.url), NEW, wait=lambda _: emulator.advance(1))
    job = next(watching).job
    emulator.set_faults(path=f"/api/v1/models/download/status/{job}", times=3, reset_after_bytes=0)

    assert next(watching).done == 400


def test_but_not_for_ever(emulator):
    waits = []
    watching = download(opener(emulator.url), NEW, wait=waits.append)
    job = next(watching).job
    emulator.set_faults(path=f"/api/v1/models/download/status/{job}", reset_after_bytes=0)

    with pytest.raises(WIRE_ERRORS):
        next(watching)
    assert len(waits) == 10


def test_a_model_that_nobody_offers(emulator):
    with pytest.raises(ModelMissing, match=r"publisher/name") as raised:
        watch(emulator, "test/nothing")
    assert "https://huggingface.co/" in str(raised.value)


def test_an_address_that_is_refused_is_not_told_to_be_written_as_one(emulator):
    with pytest.raises(ModelMissing, match="open it in a browser") as raised:
        watch(emulator, "https://huggingface.co/test/nothing")
    assert "publisher/name" not in str(raised.value)


def test_a_link_may_name_its_quantization_and_a_key_may_not(emulator):
    assert watch(emulator, LINK, "q8_0")[-1].status is Status.COMPLETED
    assert [model["quantization"]["name"] for model in emulator.state()["models"] if model["key"] == NEW] == ["Q8_0"]

    with pytest.raises(LmrouteError, match=f"write {LINK}"):
        watch(emulator, NEW, "q8_0")


@pytest.mark.parametrize(
    "body",
    [{}, {"status": "frozen"}, {"status": "downloading"}, {"status": "downloading", "job_id": 7}],
)
def test_words_that_nobody_knows_are_an_error(serve, body):
    server = serve(serve.reply(body))
    with pytest.raises(ProviderUnavailable, match="words that lmroute does not know"):
        next(download(opener(server.url), NEW))


@pytest.mark.parametrize(
    ("total", "speed", "left"), [(None, 5.0, None), (10, None, None), (10, 0.0, None), (10, 5.0, 1.2), (2, 5.0, 0.0)]
)
def test_what_is_left_is_told_only_where_it_is_known(total, speed, left):
    assert Progress(Status.DOWNLOADING, "job", 4, total, speed).left_s == left
