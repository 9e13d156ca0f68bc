"""A saved policy takes effect while a program runs, if it is sound; one that is not leaves the old one in force."""

import threading
import time

import dspy
import pytest

import lmroute
from lmroute.emulator.running import running

WAITS = 60
"""Seconds after which a test that waits for a thread gives up; only a broken one takes as long."""

GUARANTEE = "{name: stays, when: {privacy: {eq: private}}, only: {locality: [embedded, loopback]}}"


def policy(use, *, more=""):
    return f"name: mine\nguarantees: [{GUARANTEE}]\nrules:\n  - {{name: all, use: [{use}]}}\n{more}"


def profile(name, endpoint, locality="loopback"):
    return (
        f"# @package providers.{name}\nid: {name}\ntype: openai_compatible\nendpoint: {endpoint}\n"
        f"models: [qwen3-4b]\nlocality: {locality}\ncapabilities: {{json_mode: json_schema}}\n"
    )


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for group in ("provider", "routing"):
        (tmp_path / group).mkdir()
    return tmp_path


@pytest.fixture
def watched(home):
    """An LM over two local servers under a policy of its own, which asks the first, and its watch."""
    with running() as one, running() as two:
        (home / "provider/one.yaml").write_text(profile("one", one.url))
        (home / "provider/two.yaml").write_text(profile("two", two.url))
        (home / "provider/away.yaml").write_text(profile("away", "https://away.example/v1", "cloud"))
        (home / "routing/mine.yaml").write_text(policy("one"))
        lm = lmroute.load("provider=[one,two,away] routing=mine", cache=False)
        with lmroute.watch(lm, every_s=3600) as watch:
            yield lm, watch, home / "routing/mine.yaml"
        lm.engine.close()


def served_by(lm):
    lm("hello")
    return lm.history[-1]["response"].provider_data["lmroute"]["provider"]


def test_a_saved_policy_takes_effect_and_carries_its_name(watched):
    lm, watch, file = watched
    before = lm.model
    assert served_by(lm) == "one"
    file.write_text(policy("two"))
    assert watch.look()
    assert served_by(lm) == "two"
    assert lm.model != before
    assert lm.model == f"lmroute/{lm.engine.routing.name}" == f"lmroute/{lm.engine.twin.routing.name}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (policy("two, away"), "guarantee 'stays'"),
        (policy("two", more="  - {name: never, use: [one]}\n"), "takes all of its requests"),
        (policy("twoo"), "did you mean"),
        ("name: mine\nrules: [", "not valid YAML"),
        ("", "LMR"),
    ],
    ids=["a leak", "an unreachable rule", "a misspelt provider", "torn", "empty"],
)
def test_a_policy_that_is_not_sound_leaves_the_old_one_in_force_and_says_why(watched, caplog, text, why):
    lm, watch, file = watched
    file.write_text(text)
    assert not watch.look()
    assert why in str(watch.problem)
    assert why in caplog.text
    assert served_by(lm) == "one"
    file.write_text(policy("two"))
    assert watch.look()
    assert watch.problem is None


def test_a_guarantee_in_force_is_not_lost_without_a_word(watched):
    lm, watch, file = watched
    file.write_text("name: mine\nrules:\n  - {name: all, use: [two]}\n")  # as an editor has it half-way
    assert not watch.look()
    assert "guarantee 'stays' of policy 'mine' is gone" in str(watch.problem)
    assert served_by(lm) == "one"
    with lmroute.watch(lm, every_s=3600, may_weaken=True) as daring:
        assert daring.look()
    assert served_by(lm) == "two"


def test_what_was_saved_before_the_watch_began_counts_too(home, watched):
    lm, _, file = watched
    file.write_text(policy("two"))
    with lmroute.watch(lm, every_s=0.02) as watch:
        ends = time.monotonic() + WAITS
        while not watch.changes and time.monotonic() < ends:
            time.sleep(0.01)
    assert served_by(lm) == "two"


def test_what_changes_nothing_is_no_change(watched):
    lm, watch, file = watched
    before = lm.engine.routing
    file.write_text("# a comment\n" + file.read_text())
    assert not watch.look()
    assert lm.engine.routing is before
    assert watch.changes == 0


def test_the_thread_notices_by_itself_and_ends_with_the_watch(home, watched):
    lm, _, file = watched
    with lmroute.watch(lm, every_s=0.02) as watch:
        file.write_text(policy("two"))
        ends = time.monotonic() + WAITS
        while not watch.changes and time.monotonic() < ends:
            time.sleep(0.01)
        assert served_by(lm) == "two"
        thread = watch._thread
    assert not thread.is_alive()


def test_calls_from_many_threads_go_on_while_it_changes(watched):
    lm, watch, file = watched
    stop, wrong = threading.Event(), []

    def call():
        while not stop.is_set():
            try:
                copy = lm.copy()
                if served_by(copy) not in {"one", "two"}:
                    wrong.append("elsewhere")
            except Exception as error:  # noqa: BLE001
                wrong.append(error)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for use in ["two", "one", "two", "one", "two"]:
            file.write_text(policy(use))
            assert watch.look()
    finally:
        stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert served_by(lm) == "two"


def test_only_what_came_from_files_can_be_watched():
    with pytest.raises(TypeError, match="made by lmroute"):
        lmroute.watch(dspy.LM("openai/x"))
    stack = lmroute.load("provider=lmstudio").engine.stack
    with pytest.raises(TypeError, match="not composed from files"):
        lmroute.watch(lmroute.build(dict(stack.document)))
