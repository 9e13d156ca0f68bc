"""Results of probes that processes share: the same question, the same answer, and not for longer than it is true."""

import json
import os
import stat
import subprocess
import sys
import threading
import time
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute import redact
from lmroute.config.paths import user_state_dir
from lmroute.health import sharing
from lmroute.health.sharing import LARGEST, Shared
from lmroute.health.stored import from_json, to_json
from lmroute.model import Load, LoadMode, Locality, Profile, Secret, SecretRef, SecretSource, Timeouts
from lmroute.providers.inventory import Api, Inventory
from lmroute.providers.probe import ErrorCode, ListedModel, Outcome, Phase, ProbeResult, State

TOKEN = Secret("sk-SENTINEL-0123456789abcdef")
REF = SecretRef(SecretSource.ENV, ("A_TOKEN",))
BOX = Profile("box", "lmstudio", "http://127.0.0.1:1234", locality=Locality.LOOPBACK, auth_token=REF)
GOOD = ProbeResult(
    "box",
    State.HEALTHY,
    phases=(Phase("list", 1.5, Outcome.OK), Phase("chat", note="not asked: why")),
    latency_ms=3.25,
    inventory=Inventory(Api.LMSTUDIO_V1, (ListedModel("m", loaded=True, variants=("m@q4",)), ListedModel("n"))),
    tries=1,
)


class Clocks:
    """Two clocks that a test moves: together, or one alone."""

    def __init__(self):
        self.monotonic, self.wall = 1000.0, 1_800_000_000.0

    def sleep(self, seconds):
        self.monotonic += seconds
        self.wall += seconds


@pytest.fixture
def clocks():
    return Clocks()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "far" / "health"


@pytest.fixture
def process(folder, clocks):
    """``process() -> Shared``: another process's view of the same folder."""
    return lambda: Shared(folder, monotonic=lambda: clocks.monotonic, wall=lambda: clocks.wall)


def published(folder):
    (file,) = folder.glob("*.json")
    return file


def test_what_one_process_found_the_others_know(process, clocks):
    process().publish(BOX, TOKEN, GOOD)
    clocks.sleep(4.5)
    assert process().fresh(BOX, TOKEN, 5.0) == (GOOD, 4.5)
    clocks.sleep(1)
    assert process().fresh(BOX, TOKEN, 5.0) is None


def test_the_last_one_counts(process, clocks):
    bad = replace(GOOD, state=State.DOWN, error_code=ErrorCode.TIMEOUT, message="no", fix="do")
    process().publish(BOX, TOKEN, GOOD)
    clocks.sleep(1)
    process().publish(BOX, TOKEN, bad)
    assert process().fresh(BOX, TOKEN, 5.0) == (bad, 0.0)


def test_it_lies_in_the_users_state_folder():
    Shared().publish(BOX, None, GOOD)
    assert published(user_state_dir() / "health").is_file()


# The same question

OTHERS = {
    "provider": (replace(BOX, id="crate"), TOKEN),
    "type": (replace(BOX, type="ollama"), TOKEN),
    "endpoint": (replace(BOX, endpoint="http://127.0.0.1:1235"), TOKEN),
    "locality": (replace(BOX, locality=Locality.PRIVATE), TOKEN),
    "models": (replace(BOX, models=("a",)), TOKEN),
    "order of models": (replace(BOX, models=("a", "auto")), TOKEN),
    "reference": (replace(BOX, auth_token=SecretRef(SecretSource.ENV, ("B_TOKEN",))), TOKEN),
    "no reference": (replace(BOX, auth_token=None), TOKEN),
    "token": (BOX, Secret("another")),
    "no token": (BOX, None),
    "patience": (replace(BOX, timeouts=Timeouts(connect_s=9.0)), TOKEN),
    "who loads": (replace(BOX, load=Load(LoadMode.EXPLICIT)), TOKEN),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_question_has_another_answer(process, other):
    process().publish(BOX, TOKEN, GOOD)
    assert process().fresh(*other, 5.0) is None
    with process().probing(BOX, TOKEN) as ours, process().probing(*other) as theirs:
        assert (ours, theirs) == (True, True)


@pytest.mark.parametrize(
    "what", [{"tags": frozenset({"gpu"})}, {"concurrency": 3}, {"params": (("top_k", 1),)}], ids=str
)
def test_what_a_probe_does_not_depend_on_is_shared(process, what):
    process().publish(BOX, TOKEN, GOOD)
    assert process().fresh(replace(BOX, **what), TOKEN, 5.0)


def test_other_certificates_are_another_question(process, monkeypatch):
    process().publish(BOX, TOKEN, GOOD)
    monkeypatch.setenv("SSL_CERT_FILE", "/another.pem")
    assert process().fresh(BOX, TOKEN, 5.0) is None


def test_another_machine_has_another_loopback(process, monkeypatch):
    process().publish(BOX, TOKEN, GOOD)
    monkeypatch.setattr(sharing.platform, "node", lambda: "elsewhere")
    assert process().fresh(BOX, TOKEN, 5.0) is None


# Clocks


@pytest.mark.parametrize(
    ("monotonic", "wall"),
    [(0, 60), (60, 0), (0, -60), (-60, 0), (0, 1e9), (-1e9, 60), (0, -0.001)],
    ids=["asleep", "set back", "set to the past", "started again", "set", "started again later", "a little"],
)
def test_an_age_that_the_clocks_do_not_agree_on_is_none(process, clocks, monotonic, wall):
    process().publish(BOX, TOKEN, GOOD)
    clocks.monotonic += monotonic
    clocks.wall += wall
    assert process().fresh(BOX, TOKEN, 15.0) is None


@pytest.mark.parametrize(
    ("asks", "after", "is_known"), [(60, 59, True), (60, 61, False), (86400, 299, True), (86400, 301, False)]
)
def test_a_server_that_asks_to_be_left_alone_is_left_alone_by_all(process, clocks, asks, after, is_known):
    throttled = replace(GOOD, state=State.THROTTLED, error_code=ErrorCode.RATE_LIMITED, retry_after_s=float(asks))
    process().publish(BOX, TOKEN, throttled)
    clocks.sleep(after)
    assert (process().fresh(BOX, TOKEN, 15.0) is not None) == is_known


# Turns


def test_one_process_probes_at_a_time(process):
    with process().probing(BOX, TOKEN) as first, process().probing(BOX, TOKEN) as second:
        assert (first, second) == (True, False)
    with process().probing(BOX, TOKEN) as third:
        assert third


def test_a_probe_that_fails_gives_its_turn_back(process):
    with pytest.raises(ZeroDivisionError), process().probing(BOX, TOKEN):
        raise ZeroDivisionError
    with process().probing(BOX, TOKEN) as again:
        assert again


def test_many_threads_at_once_are_one_probe(process):
    """Each looks, probes if it is its turn, and says so; whoever was not waits for what the others found."""
    asked, found, start = [], [], threading.Barrier(8)

    def run():
        shared = process()
        start.wait()
        while not (known := shared.fresh(BOX, TOKEN, 5.0)):
            with shared.probing(BOX, TOKEN) as is_ours:
                if is_ours and not shared.fresh(BOX, TOKEN, 5.0):
                    asked.append(1)
                    shared.publish(BOX, TOKEN, GOOD)
        found.append(known)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(asked), found) == (1, [(GOOD, 0.0)] * 8)


HOLDER = """
import sys
from pathlib import Path
from lmroute.health.sharing import Shared
from lmroute.model import Locality, Profile
box = Profile("box", "lmstudio", "http://127.0.0.1:1234", locality=Locality.LOOPBACK)
with Shared(Path(sys.argv[1])).probing(box, None) as is_ours:
    print(is_ours, flush=True)
    sys.stdin.read()
"""


def test_a_process_that_is_killed_gives_its_turn_back(folder):
    box, shared = replace(BOX, auth_token=None), Shared(folder)
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "True\n"
            with shared.probing(box, None) as is_ours:
                assert not is_ours
        finally:
            other.kill()
    with shared.probing(box, None) as is_ours:
        assert is_ours


# What must not be believed, and what must not be seen

DAMAGE = {
    "torn": lambda data: data[: len(data) // 2],
    "empty": lambda _data: b"",
    "edited": lambda data: data.replace(b'"healthy"', b'"down"'),
    "of another version": lambda data: data.replace(b'"api"', b'"app"'),
    "without its seal": lambda data: data.partition(b"\n")[2],
    "foreign": lambda _data: b'{"state": "healthy"}',
    "binary": lambda _data: bytes(range(256)),
    "deep": lambda _data: b"[" * 100_000,
    "huge": lambda data: data + b" " * LARGEST,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_file_that_is_not_ours_any_more_is_ignored(process, folder, damage):
    process().publish(BOX, TOKEN, GOOD)
    file = published(folder)
    file.write_bytes(damage(file.read_bytes()))
    assert process().fresh(BOX, TOKEN, 5.0) is None
    process().publish(BOX, TOKEN, GOOD)
    assert process().fresh(BOX, TOKEN, 5.0) == (GOOD, 0.0)


def test_what_is_sealed_and_yet_no_result_is_ignored(process, folder):
    """Another version of lmroute may have written it."""
    process().publish(BOX, TOKEN, GOOD)
    salt, file = (folder / "salt").read_bytes(), published(folder)
    for told in (
        {},
        [],
        None,
        7,
        {"result": {}},
        {"result": to_json(GOOD)},
        {"result": to_json(GOOD) | {"state": "?"}},
    ):
        file.write_text(sharing._sealed(salt, json.dumps(told)), encoding="utf-8")
        assert process().fresh(BOX, TOKEN, 5.0) is None


def test_a_list_that_is_too_long_is_not_shared(process, folder):
    process().publish(BOX, TOKEN, GOOD)
    many = tuple(ListedModel(f"model-{n}") for n in range(60_000))
    process().publish(BOX, TOKEN, replace(GOOD, inventory=Inventory(Api.PLAIN, many)))
    assert process().fresh(BOX, TOKEN, 5.0) is None
    assert list(folder.glob("*.json")) == [], "rather nothing than what was true before"


def test_what_nobody_was_asked_for_is_not_shared(process, folder):
    process().publish(BOX, None, ProbeResult("box", State.AUTH, ErrorCode.TOKEN_MISSING, "no token", "export it"))
    assert not folder.exists()


def test_no_file_tells_a_token(process, folder):
    redact.remember(TOKEN.reveal())
    echo = f"you sent {TOKEN.reveal()}"
    leaky = replace(GOOD, message=echo, inventory=Inventory(Api.PLAIN, (ListedModel(TOKEN.reveal()),)))
    with process().probing(BOX, TOKEN):
        process().publish(BOX, TOKEN, leaky)
    found = process().fresh(BOX, TOKEN, 5.0)
    assert found[0].message == "you sent ***"
    for file in folder.iterdir():
        assert "SENTINEL" not in file.name
        assert b"SENTINEL" not in file.read_bytes()


def test_a_secret_that_is_a_word_of_ours_only_means_that_nothing_is_shared(process, monkeypatch):
    for word in ('"healthy"', '"state"', "{"):
        monkeypatch.setattr(redact, "text", lambda text, word=word: text.replace(word, redact.MASK))
        process().publish(BOX, TOKEN, GOOD)
        assert process().fresh(BOX, TOKEN, 5.0) is None


def test_names_tell_nothing_without_the_salt(tmp_path):
    names = []
    for place in ("one", "two"):
        Shared(tmp_path / place).publish(BOX, TOKEN, GOOD)
        names.append(published(tmp_path / place).name)
    assert names[0] != names[1]


# File systems

posix = pytest.mark.skipif(os.name != "posix", reason="only POSIX has such modes")


@posix
def test_nobody_else_may_look(process, folder):
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    with process().probing(BOX, TOKEN):
        process().publish(BOX, TOKEN, GOOD)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def unusable(kind, folder):
    """Make a folder of which no use can be made, whoever we are."""
    if kind == "a file":
        folder.parent.mkdir(parents=True)
        folder.write_text("", encoding="utf-8")
    elif kind == "below a file":
        folder.parent.parent.mkdir(exist_ok=True)
        folder.parent.write_text("", encoding="utf-8")
    elif kind == "its salt is a folder":
        (folder / "salt").mkdir(parents=True)


@pytest.mark.parametrize("kind", ["missing", "a file", "below a file", "its salt is a folder"])
def test_without_a_folder_everybody_probes(process, folder, kind):
    unusable(kind, folder)
    assert process().fresh(BOX, TOKEN, 5.0) is None
    with process().probing(BOX, TOKEN) as ours:
        assert ours
    process().publish(BOX, TOKEN, GOOD)
    assert (process().fresh(BOX, TOKEN, 5.0) is not None) == (kind == "missing")


@posix
@pytest.mark.skipif(hasattr(os, "getuid") and os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(process, folder):
    process().publish(BOX, TOKEN, GOOD)
    folder.chmod(0o500)
    try:
        process().publish(BOX, TOKEN, GOOD)
        assert process().fresh(BOX, TOKEN, 5.0)
    finally:
        folder.chmod(0o700)


def test_a_disk_that_is_full(process, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sharing, "write_atomically", full)
    process().publish(BOX, TOKEN, GOOD)
    with process().probing(BOX, TOKEN) as ours:
        assert ours
    assert process().fresh(BOX, TOKEN, 5.0) is None


@posix
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_stands_in_a_files_place_is_not_read(process, folder, tmp_path, kind):
    process().publish(BOX, TOKEN, GOOD)
    file = published(folder)
    aside = file.rename(tmp_path / "aside")
    if kind == "pipe":
        os.mkfifo(file)  # to read it would wait for ever
    elif kind == "link":
        file.symlink_to(aside)
    else:
        file.mkdir()
    assert process().fresh(BOX, TOKEN, 5.0) is None
    process().publish(BOX, TOKEN, GOOD)


@posix
def test_somebody_elses_file_is_not_believed(process, folder, monkeypatch):
    process().publish(BOX, TOKEN, GOOD)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert process().fresh(BOX, TOKEN, 5.0) is None


def test_old_files_are_removed(process, folder):
    process().publish(BOX, TOKEN, GOOD)
    ages = {
        "a" * 32 + ".json": -90_000,
        "b" * 32 + ".lock": -90_000,
        f".{'c' * 32}.json-x": -90_000,
        "d" * 32 + ".json": 90_000,
    }
    young, foreign = folder / ("e" * 32 + ".json"), folder / "notes.txt"
    for name, age in (ages | {young.name: -60, foreign.name: -90_000}).items():
        (folder / name).write_text("", encoding="utf-8")
        os.utime(folder / name, (time.time() + age,) * 2)
    process().publish(BOX, TOKEN, GOOD)
    left = {file.name for file in folder.iterdir()}
    assert left.isdisjoint(ages)
    assert {young.name, foreign.name, "salt"} <= left


# JSON

TEXT = st.text(st.characters(), max_size=12)
NUMBERS = st.floats(0, 1e9)
MODELS = st.builds(
    ListedModel,
    id=TEXT,
    of=TEXT,
    offered=st.booleans(),
    chats=st.booleans(),
    embeds=st.none() | st.booleans(),
    loaded=st.none() | st.booleans(),
    context_window=st.none() | st.integers(1, 1 << 40),
    max_context_window=st.none() | st.integers(1, 1 << 40),
    tools=st.none() | st.booleans(),
    vision=st.none() | st.booleans(),
    reasoning=st.none() | st.lists(TEXT, max_size=3).map(tuple),
    parallel=st.none() | st.integers(1, 99),
    ttl_s=st.none() | NUMBERS,
    quantization=st.none() | TEXT,
    variants=st.lists(TEXT, max_size=3).map(tuple),
    format=st.none() | TEXT,
    size_bytes=st.none() | st.integers(1, 1 << 60),
    elsewhere=st.none() | TEXT,
    owner=st.none() | TEXT,
)
RESULTS = st.builds(
    ProbeResult,
    provider=TEXT,
    state=st.sampled_from(State),
    error_code=st.none() | st.sampled_from(ErrorCode),
    message=TEXT,
    fix=TEXT,
    phases=st.lists(st.builds(Phase, TEXT, NUMBERS, st.sampled_from(Outcome), TEXT), max_size=7).map(tuple),
    latency_ms=NUMBERS,
    inventory=st.builds(
        Inventory,
        st.sampled_from(Api),
        st.lists(MODELS, max_size=4).map(tuple),
        is_other=st.booleans(),
        problem=TEXT,
    ),
    missing=st.lists(TEXT, max_size=3).map(tuple),
    tries=st.integers(1, 9),
    retry_after_s=st.none() | NUMBERS,
)


@given(RESULTS)
def test_a_result_survives_as_json(result):
    back = from_json(json.loads(json.dumps(to_json(result))))
    assert back == result
    assert [model.owner for model in back.models] == [model.owner for model in result.models], "equality skips it"


def test_every_field_is_stored():
    """One that is added later must not get lost on its way to another process."""
    stored = to_json(GOOD).keys() | {"inventory"}
    stored |= {"answers"}  # what a server sent, which only who asked it needs
    assert {field.name for kind in (ProbeResult, Inventory) for field in fields(kind)} <= stored
    assert len(to_json(GOOD)["phases"][0]) == len(fields(Phase))
