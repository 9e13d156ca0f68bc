"""What is wrong before anything runs: one short message, with the place and the fix."""

import re

import pytest

from lmroute.experiments.main import main


@pytest.fixture(scope="module")
def brief(runners):
    """Runs that end before a model is asked, all at once, and the folder they were in."""
    runner = runners(LMROUTE_OFFLINE="1")
    (runner.folder / "file").touch()
    commands = {
        "help": ["--help"],
        "cfg": ["--cfg", "job", "provider=lmstudio"],
        "cfg of a mistake": ["--cfg", "job", "provider=lmstudo"],
        "mistake": ["provider=lmstudo"],
        "flag": ["--nope"],
        "unwritable": [runner.nobody(), "hydra.run.dir=file/x"],
    }
    processes = {name: runner.start(*words) for name, words in commands.items()}
    return runner.folder, {name: runner.finish(process) for name, process in processes.items()}


@pytest.mark.parametrize(
    ("name", "expected"), [("help", "provider: anthropic, embedded"), ("cfg", "endpoint: http://127.0.0.1:1234")]
)
def test_hydras_own_questions_are_answered(brief, name, expected):
    done = brief[1][name]
    assert (done.code, done.err) == (0, "")
    assert expected in done.out


def test_what_ends_early_leaves_nothing_behind(brief):
    assert [file.name for file in brief[0].iterdir()] == ["file"]


FINDINGS = {
    "an unknown provider": (["provider=lmstudo"], "provider=lmstudo: LMR201 ", "did you mean 'lmstudio'?"),
    "a misspelt key": (["task.limt=3"], "task.limt=3: LMR201 task.limt: unknown key", "did you mean 'limit'?"),
    "a misspelt task": (["task=sentimnt"], "there is no task 'sentimnt'", "did you mean 'sentiment'?"),
    "a missing variable": (
        ["provider=openai"],
        "openai.yaml:6:13: LMR401 ",
        "OPENAI_API_KEY is not set, or empty; export it",
    ),
    "a port that is none": (
        ["provider=lmstudio", "providers.lmstudio.endpoint=http://127.0.0.1:123456"],
        'LMR103 providers.lmstudio.endpoint: "http://127.0.0.1:123456" is no address',
        "port 1 to 65535",
    ),
    "an address without its scheme": (
        ["provider=lmstudio", "providers.lmstudio.endpoint=127.0.0.1:1234"],
        "does not have the right form",
        "write http(s)://host:port",
    ),
    "a group written as a key": (
        ["provider.embedded.foo=1"],
        "provider.embedded.foo=1: LMR201 provider: provider is a choice, not a key",
        "did you mean 'providers.embedded.foo=1'?",
    ),
    "a misspelt group": (["providr=openai"], "providr=openai: LMR201 providr: unknown key", "did you mean 'provider'?"),
    "a literal key that is asked to be shown": (
        ["provider=openai", "providers.openai.auth_token=sk-abcdefghijkl", "--cfg", "job"],
        "providers.openai.auth_token=***: LMR005",
        "{env: NAME}",
    ),
    "a literal key": (
        ["provider=openai", "providers.openai.auth_token=sk-abcdefghijkl"],
        "providers.openai.auth_token=***: LMR005",
        "{env: NAME}",
    ),
    "no question": (
        ["task=ask"],
        "LMR101 question: task 'ask' needs a question",
        "question='\"Why is the sky blue?\"'",
    ),
    "a question nobody asks": (["question=Why?"], "task 'sentiment' asks no question", "add task=ask"),
    "a bare comma": (["task=ask", "question=Well, why?"], "several values for one run", "quote a text twice"),
    "one job of a sweep": (["-m", "provider=embedded", "task.limit=1,2,zero"], 'task.limit: "zero" is not', "LMR103"),
    "a sweep over a missing key": (["-m", "provider=embedded,openai"], "LMR401", "without openai: provider=[embedded]"),
}
MISUSES = {
    "a missing file": (["task.data=mine.csv"], "mine.csv: no such data file", "the folder you are in"),
    "a folder": (["task.data=."], ": a folder; ", "names a CSV file"),
    "an empty file": (["task.data=empty.csv"], "empty.csv: no rows", "it needs a header line text,label"),
    "a file without rows": (
        ["task=qa", "task.data=header.csv"],
        "header.csv:1: no column context",
        "context,question,answer",
    ),
    "a sweep over files": (["-m", "task.data=good.csv,bad.csv"], "bad.csv:3: label is 'meh'", "positive, negative"),
    "another folder of files": (["--config-dir", "conf"], "--config-dir is not supported here", "hydra.searchpath"),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with some files, and no keys in the environment."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "empty.csv").touch()
    (folder / "header.csv").write_text("text,label\n", encoding="utf-8")
    (folder / "good.csv").write_text("text,label\na,positive\n", encoding="utf-8")
    (folder / "bad.csv").write_text("text,label\na,positive\nb,meh\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(tmp_path / "nobody"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return folder


@pytest.mark.parametrize("case", [*FINDINGS, *MISUSES])
def test_a_mistake_is_one_short_message_with_its_place_and_fix_and_makes_no_folder(here, capsys, case):
    words, place, fix = FINDINGS.get(case) or MISUSES[case]
    before = sorted(here.iterdir())
    with pytest.raises(SystemExit) as end:
        main(words)
    output = capsys.readouterr()
    assert (end.value.code, output.out) == (1 if case in FINDINGS else 2, "")
    assert place in output.err
    assert fix in output.err
    assert "sk-" not in output.err
    assert "Traceback" not in output.err
    assert len(output.err.splitlines()) <= 2
    assert sorted(here.iterdir()) == before, "nothing was launched"


@pytest.mark.parametrize("name", ["mistake", "cfg of a mistake"])
def test_a_mistake_looks_the_same_from_outside(brief, name):
    done = brief[1][name]
    expected = "<command line> provider=lmstudo: LMR201 provider: there is no provider 'lmstudo'\n"
    assert (done.code, done.out, done.err) == (1, "", expected + "  help: did you mean 'lmstudio'?\n")


def test_a_flag_that_is_none(brief):
    done = brief[1]["flag"]
    assert (done.code, done.out) == (2, "")
    assert "unrecognized arguments: --nope" in done.err
    assert "Traceback" not in done.err


def test_a_folder_that_cannot_be_written(brief):
    done = brief[1]["unwritable"]
    assert done.code == 2
    assert re.fullmatch(r"file.x: cannot be written: .+; go to another folder, or set hydra\.run\.dir\n", done.err)
