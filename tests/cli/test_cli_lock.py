"""``lmroute lock``: what it writes and says, over the real emulator."""

import json
import os
import sys
from contextlib import contextmanager

import pytest

from lmroute.cli import main
from lmroute.emulator.catalog import Model
from lmroute.emulator.control.remote import Remote
from lmroute.emulator.faults import Faults
from lmroute.emulator.machine.instances import LoadConfig
from lmroute.emulator.running import running
from lmroute.emulator.settings import Loaded, Settings
from lmroute.lock import FILE

TERN, HERON = "test/tern", "test/heron"
DISK = (Model(TERN, trained_for_tool_use=True), Model(HERON, trained_for_tool_use=True))
NOBODY = "http://127.0.0.1:9"
BOX = """# @package providers.box
id: box
type: lmstudio
endpoint: ${oc.env:BOX}
models: [auto]
locality: loopback
"""
OTHER = BOX.replace("box", "other").replace("BOX", "OTHER")
POLICY = """name: p
rules:
  - {name: long, when: {prompt_tokens: {gt: 4000}}, use: [box]}
  - {name: rest, use: [box, {select: {providers: [other]}}]}
"""


@contextmanager
def serving(window=8192, **settings):
    loaded = (Loaded(TERN, config=LoadConfig(context_length=window)),)
    with running(Settings(**{"models": DISK, "loaded": loaded} | settings)) as server:
        yield server.url


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the profiles ``box`` and ``other`` and a policy; the folder of its lock."""
    conf = tmp_path / "conf"
    for name, text in {".lmroute": "", "provider/box.yaml": BOX, "provider/other.yaml": OTHER}.items():
        (conf / name).parent.mkdir(parents=True, exist_ok=True)
        (conf / name).write_text(text, encoding="utf-8")
    (conf / "routing").mkdir()
    (conf / "routing" / "p.yaml").write_text(POLICY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOX", NOBODY)
    monkeypatch.setenv("OTHER", NOBODY)
    return tmp_path


@pytest.fixture
def lock(project, capsys):
    """Runs the verb: ``lock(*words) -> (exit code, stdout, stderr)``."""

    def run(*words, provider="box", verb="lock"):
        capsys.readouterr()
        code = main([verb, f"provider={provider}", "routing=p", *words])
        return code, *capsys.readouterr()

    return run


def written(project):
    return json.loads((project / FILE).read_text(encoding="utf-8"))["providers"]


def test_what_the_servers_are_is_written_beside_conf_and_checked(project, lock, monkeypatch):
    (project / "src").mkdir()
    with serving() as url:
        monkeypatch.setenv("BOX", url)
        monkeypatch.chdir(project / "src")
        (project / ".git").mkdir()
        code, out, err = lock()
        assert (code, out) == (0, f"{project / FILE}: box (2 models)\n")
        assert err == "asking box …\n"
        assert [model["id"] for model in written(project)["box"]["models"]] == [HERON, TERN]
        assert lock("--check")[:2] == (0, "as locked: box\n")


def test_an_embedding_model_is_locked_as_one_and_is_none_to_chat_with(project, lock, monkeypatch):
    wren = "text-embedding-wren"
    (project / "conf" / "provider" / "box.yaml").write_text(BOX.replace("auto", wren), encoding="utf-8")
    with serving(models=(*DISK, Model.named(wren))) as url:
        monkeypatch.setenv("BOX", url)
        lock()
        assert {m["id"]: m["kind"] for m in written(project)["box"]["models"]}[wren] == "embedding"
        code, out, _ = lock(verb="validate")
    assert (code, f"'{wren}' is an embedding model, it answers no chat" in out) == (1, True)


def test_a_smaller_window_is_drift_and_the_rules_that_lose_are_named(project, lock, monkeypatch):
    with serving(8192) as url:
        monkeypatch.setenv("BOX", url)
        lock()
        Remote(url).unload(TERN)
        assert lock("--check")[:2] == (
            0,
            f"as locked: box\nloaded otherwise, which is no drift:\n  box: '{TERN}' is not loaded now\n",
        )
        Remote(url).load(TERN, context_length=2048)
        code, out, _ = lock("--check")
    assert (code, out.splitlines()) == (
        1,
        [
            "not as locked:",
            f"  box: '{TERN}' window 8192 -> 2048",
            "what that means for the policy:",
            (
                "  rule p/long: no candidate is left for prompt_tokens=4001 "
                "(box/auto: context window too small: 2048 tokens (more than 2560 are asked for), "
                "with the window that the server has now)"
            ),
            (
                "  rule p/rest: no candidate is left for prompt_tokens=2561 "
                "(box/auto: context window too small: 2048 tokens (more than 2560 are asked for), "
                "with the window that the server has now)"
            ),
            "to take the servers as they are: lmroute lock",
        ],
    )


def test_the_same_as_data(project, lock, monkeypatch):
    with serving(8192) as url:
        monkeypatch.setenv("BOX", url)
        code, out, _ = lock("--json")
        assert (code, json.loads(out)) == (
            0,
            {"format_version": "1.0", "file": str(project / FILE), "locked": ["box"], "kept": [], "silent": []},
        )
        Remote(url).unload(TERN)
        Remote(url).load(TERN, context_length=2048)
        code, out, _ = lock("--check", "--json")
    told = json.loads(out)
    assert (code, told["format_version"], told["compatible"], told["unlocked"]) == (1, "1.0", False, [])
    assert told["differences"] == [
        {"provider": "box", "model": TERN, "weight": "drift", "message": "window 8192 -> 2048"}
    ]
    first, _ = told["effects"]
    assert (first["rule"], first["lost"], first["instead"]) == ("long", ["box/auto"], None)
    assert (first["witness"], first["location"]["line"]) == ({"prompt_tokens": 4001}, 3)
    assert first["considered"][0]["dropped"].startswith("context window too small")


def test_more_is_a_note_unless_it_is_strict(project, lock, monkeypatch):
    with serving() as url:
        monkeypatch.setenv("BOX", url)
        lock()
        text = (project / FILE).read_text(encoding="utf-8")
    with serving(models=(*DISK, Model("test/owl"))) as url:
        monkeypatch.setenv("BOX", url)
        before = written(project)["box"]["endpoint"]
        (project / FILE).write_text(text.replace(before, url), encoding="utf-8")
        code, out, _ = lock("--check")
        assert (code, out) == (
            0,
            "as locked: box\nmore than was locked, or not told any more:\n  box: 'test/owl' is new\n",
        )
        assert lock("--check", "--strict")[0] == 1


def test_of_two_with_one_down_nothing_is_written_or_what_was_there_is_kept(project, lock, monkeypatch):
    both = "[box,other]"
    with serving() as url, serving() as second:
        monkeypatch.setenv("BOX", url)
        monkeypatch.setenv("OTHER", second)
        lock(provider=both)
        before = (project / FILE).read_bytes()
        monkeypatch.setenv("OTHER", NOBODY)
        code, out, err = lock(provider=both)
        assert (code, out, (project / FILE).read_bytes()) == (1, "", before)
        assert f"other: {NOBODY}/v1: connection refused" in err
        assert err.endswith("nothing is written; --keep writes what the others told\n")
        code, out, err = lock("--keep", provider=both)
        assert (code, out) == (0, f"{FILE}: box (2 models); kept as it was: other\n")
        assert "  what was locked before is kept\n" in err
        assert written(project)["other"]["endpoint"] == second
        code, out, _ = lock("--check", provider=both)
        assert (code, "  other: does not answer: " in out) == (1, True)
        assert "rule p/rest: other/auto no longer stands in for box/auto with a request that states nothing" in out


def test_a_server_that_was_never_locked_is_left_out_when_it_is_down(project, lock, monkeypatch):
    with serving() as url:
        monkeypatch.setenv("BOX", url)
        code, out, err = lock("--keep", provider="[box,other]")
        assert (code, out, set(written(project))) == (0, f"{FILE}: box (2 models)\n", {"box"})
        assert "  it is left out\n" in err
        code, out, _ = lock("--check", provider="[box,other]")
    assert (code, "other: was never locked: lmroute lock" in out) == (1, True)


def test_a_check_that_compared_nothing_fails_and_names_what_it_left_out(project, lock, monkeypatch):
    with serving() as url:
        monkeypatch.setenv("BOX", url)
        monkeypatch.setenv("OTHER", url)
        lock()
        code, out, _ = lock("--check", provider="other")
        assert (code, out.splitlines()) == (
            1,
            [
                "other: was never locked: lmroute lock",
                "not looked at, since not selected or out of every rule's reach: box",
            ],
        )
        told = json.loads(lock("--check", "--json", provider="other")[1])
    assert (told["compatible"], told["unlocked"], told["unasked"]) == (False, ["other"], ["box"])


def test_an_unchanged_server_leaves_the_file_as_it_is(project, lock, monkeypatch):
    with serving() as url:
        monkeypatch.setenv("BOX", url)
        lock()
        was = written(project)["box"]["taken"]
        text = (project / FILE).read_text(encoding="utf-8").replace(was, "2026-01-01T00:00:00Z")
        (project / FILE).write_text(text, encoding="utf-8")
        lock()
        assert (project / FILE).read_text(encoding="utf-8") == text
        Remote(url).load(HERON)
        lock()
        assert written(project)["box"]["taken"] != "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("fault", [{"html_500": True}, {"truncated_json": True}], ids=str)
def test_a_server_whose_own_list_cannot_be_read_is_not_locked(project, lock, monkeypatch, fault):
    with serving() as url:
        monkeypatch.setenv("BOX", url)
        lock()
        before = (project / FILE).read_bytes()
    with serving(faults=Faults(path="/api/v1/models", **fault)) as url:
        monkeypatch.setenv("BOX", url)
        code, out, err = lock()
        assert (code, out, (project / FILE).read_bytes()) == (1, "", before)
        assert "box: its own list of models could not be read" in err
        assert err.endswith("nothing is written\n")
        assert lock("--keep")[0] == 0
        assert (project / FILE).read_bytes() == before
        code, out, _ = lock("--check", "--json")
    told = json.loads(out)
    assert (code, told["effects"], told["silent"][0]["state"]) == (1, [], "degraded")
    assert told["differences"][-1]["message"].startswith("cannot be compared: its own list")


def test_what_is_not_asked_stays_unless_the_lock_is_fresh(project, lock, monkeypatch):
    with serving() as url:
        monkeypatch.setenv("BOX", url)
        monkeypatch.setenv("OTHER", url)
        lock()
        code, out, _ = lock(provider="other")
        assert (code, out) == (0, f"{FILE}: other (2 models); kept as it was: box\n")
        assert set(written(project)) == {"box", "other"}
        lock("--fresh", provider="other")
        assert set(written(project)) == {"other"}


def test_who_no_rule_can_reach_is_asked_with_all_only(project, lock, monkeypatch):
    with serving() as url:
        monkeypatch.setenv("BOX", url)
        monkeypatch.setenv("OTHER", url)
        only = (project / "conf" / "routing" / "p.yaml").read_text(encoding="utf-8").replace("[other]", "[box]")
        (project / "conf" / "routing" / "p.yaml").write_text(only, encoding="utf-8")
        lock(provider="[box,other]")
        assert set(written(project)) == {"box"}
        lock("--all", provider="[box,other]")
        assert set(written(project)) == {"box", "other"}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--check",), 2, "there is nothing to check yet\n  help: write it: lmroute lock"),
        (("--check", "--keep"), 2, "--check writes nothing; leave out --keep"),
        (("--check", "--fresh"), 2, "--check writes nothing; leave out --fresh"),
        (("--strict",), 2, "--strict is about --check"),
        (("provider=embedded",), 2, "no provider that a rule can reach has a server to ask; selected: embedded"),
        (("routing=nowhere",), 1, "nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused(lock, words, code, says):
    found, out, err = lock(*words)
    assert (found, out, says in err) == (code, "", True)
    as_data = json.loads(lock(*words, "--json")[1])
    assert says.partition("\n")[0] in as_data["error"]
    for finding in as_data["findings"]:
        assert finding["reproduce"] == " ".join(["lmroute validate provider=box routing=p", *words])


def test_a_file_that_cannot_be_read_is_neither_checked_nor_lost(project, lock, monkeypatch):
    (project / FILE).write_text("<<<<<<< ours\n", encoding="utf-8")
    with serving() as url:
        monkeypatch.setenv("BOX", url)
        for words in ((), ("--check",), ("--keep",)):
            code, out, err = lock(*words)
            assert (code, out) == (1, "")
            assert err.startswith(f"{FILE}:1:1: LMR330 is no JSON")
        assert (project / FILE).read_text(encoding="utf-8") == "<<<<<<< ours\n"
        assert lock("--fresh")[0] == 0
        assert lock("--check")[0] == 0


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "geteuid"), reason="permissions of Unix")
def test_a_folder_that_may_not_be_written_is_told(project, lock, monkeypatch):
    if os.geteuid() == 0:
        (project / FILE).mkdir()  # nothing else stops root
    else:
        project.chmod(0o500)
    try:
        with serving() as url:
            monkeypatch.setenv("BOX", url)
            code, out, err = lock("--fresh")
    finally:
        project.chmod(0o700)
    assert (code, out) == (2, "")
    assert "cannot be written" in err
    assert err.endswith("mend that and say 'lmroute lock --fresh' again\n")


def test_a_lock_that_is_out_of_date_keeps_nobody_from_a_new_one(project, lock, monkeypatch):
    with serving() as url:
        monkeypatch.setenv("BOX", url)
        lock()
        monkeypatch.setenv("BOX", url)
        (project / "conf" / "provider" / "box.yaml").write_text(BOX.replace("auto", HERON), encoding="utf-8")
        text = (project / FILE).read_text(encoding="utf-8").replace(HERON, "test/crow")
        (project / FILE).write_text(text, encoding="utf-8")
        code, out, _ = lock(verb="validate")
        assert (code, "LMR333 providers.box.models.0" in out) == (1, True)
        code, out, err = lock("--live", verb="validate")
        assert (code, "LMR333" in out, "no server was asked" in err) == (1, True, False)
        assert lock()[0] == 0
        assert lock(verb="validate")[0] == 0
