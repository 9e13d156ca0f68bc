"""The program itself: help, versions, errors."""

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from lmroute import cli, redact
from lmroute.cli import main
from lmroute.diagnostics import Diagnostic, Location
from lmroute.errors import ConfigError, LmrouteError, MissingExtra


@pytest.fixture
def verb(monkeypatch):
    """A verb ``probe`` that does what the test says: ``verb(function of its arguments)``."""

    def install(run):
        module = SimpleNamespace(
            __doc__="Probe.", add_arguments=lambda parser: parser.add_argument("--deep", action="store_true"), run=run
        )
        monkeypatch.setitem(cli.VERBS, "probe", "do what a test says")
        monkeypatch.setitem(sys.modules, "lmroute.cli.probe", module)

    return install


def raising(error):
    def run(arguments):
        raise error

    return run


def test_alone_it_prints_its_help_and_is_wrong_usage(capsys):
    assert main([]) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert "usage: lmroute <verb>" in shown.err
    assert "emulator    serve LM Studio's API" in shown.err


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["--version"], 0), (["nonsense"], 2), (["--nonsense"], 2)]
)
def test_argparse_ends_the_program(arguments, code, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == code
    shown = capsys.readouterr()
    assert (shown.out == "") is (code == 2)


def test_the_version_is_a_line(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])

    assert capsys.readouterr().out.startswith("lmroute 0")


def test_streams_that_are_closed_go_nowhere(verb, monkeypatch):
    verb(lambda arguments: print("result") or print("note", file=sys.stderr) or sys.stdout.flush() or 0)
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["probe"]) == 0
    for stream in (sys.stdout, sys.stderr):
        assert stream.name == os.devnull
        stream.close()


def test_a_verb_gets_its_own_options_and_gives_the_exit_code(verb):
    seen = []
    verb(lambda arguments: seen.append(arguments.deep) or 1)

    assert main(["probe", "--deep"]) == 1
    assert seen == [True]


def test_a_verb_has_its_own_help(verb, capsys):
    verb(lambda arguments: 0)

    with pytest.raises(SystemExit) as ended:
        main(["probe", "--help"])

    assert ended.value.code == 0
    assert "usage: lmroute probe" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (LmrouteError("no such thing; make one"), 2, "no such thing; make one\n"),
        (ConfigError([Diagnostic("LMR001", "wrong", Location("a.yaml", 3, 1))]), 1, "a.yaml:3:1: LMR001 wrong\n"),
        (MissingExtra("X", "ui"), 2, "X needs an optional dependency: pip install 'lmroute[ui]'\n"),
    ],
)  # fmt: skip
def test_an_error_on_purpose_is_its_message_and_no_more(verb, capsys, error, code, text):
    verb(raising(error))

    assert main(["probe"]) == code
    assert capsys.readouterr() == ("", text)


def test_ctrl_c_is_130(verb, capsys):
    verb(raising(KeyboardInterrupt()))

    assert main(["probe"]) == 130
    assert capsys.readouterr() == ("", "")


PROBE = """
import signal, sys, types
from lmroute import cli

def run(arguments):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:  # as a finalizer does, or a library that catches everything
        print("swallowed", flush=True)
    return 0

module = types.SimpleNamespace(__doc__="Probe.", add_arguments=lambda parser: None, run=run)
verb = sys.argv[1]
cli.VERBS[verb] = "do what a test says"
sys.modules[f"lmroute.cli.{verb}"] = module
sys.exit(cli.main([verb]))
"""


@pytest.mark.parametrize(("name", "code", "out"), [("validate", 130, ""), ("emulator", 0, "swallowed\n")])
def test_ctrl_c_ends_what_holds_nothing_even_where_an_exception_would_be_lost(name, code, out):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, name], capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (code, out, "")


def test_the_handler_of_ctrl_c_is_put_back_and_nobody_else_s_is_touched(verb):
    during = []
    verb(lambda arguments: during.append(signal.getsignal(signal.SIGINT)) or 0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(["probe"])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        main(["probe"])
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert during[0] is not signal.default_int_handler
    assert during[1] is signal.SIG_IGN


@pytest.mark.parametrize(("debug", "traceback"), [("", False), ("0", False), ("1", True)])
def test_a_bug_is_asked_to_be_reported(verb, capsys, monkeypatch, debug, traceback):
    monkeypatch.setenv("LMROUTE_DEBUG", debug)
    redact.remember("open-sesame-123")
    verb(raising(KeyError("open-sesame-123")))

    assert main(["probe"]) == 2

    shown = capsys.readouterr().err
    assert "internal error: KeyError: '***'" in shown
    assert "please report" in shown
    assert ("Traceback" in shown) is traceback
    assert "sesame" not in shown


def test_secrets_are_masked_in_messages(verb, capsys):
    verb(raising(LmrouteError("refused: sk-lm-AbCd1234:abcdefghij0123456789")))

    main(["probe"])

    assert capsys.readouterr().err == "refused: ***\n"


def verbs(table, below=""):
    """Every verb, those inside of verbs too, by the name of its module below ``lmroute.cli``."""
    for name in table:
        package = Path(cli.__file__).parent / name
        inner = import_module(f"lmroute.cli.{name}").VERBS if package.is_dir() else {}
        yield from verbs(inner, f"{name}.") if inner else [f"{below}{name}"]


@pytest.mark.parametrize("name", list(verbs(cli.VERBS)))
def test_every_verb_of_the_table_has_its_module(name):
    module = import_module(f"lmroute.cli.{name}")

    assert module.__doc__
    assert callable(module.add_arguments)
    assert callable(module.run)


@pytest.mark.parametrize("name", ["route", "policy"])
def test_a_verb_with_verbs_tells_them(name, capsys):
    assert main([name]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"usage: lmroute {name} <verb>" in shown.err

    with pytest.raises(SystemExit) as ended:
        main([name, "nonsense"])
    assert ended.value.code == 2


def test_a_verb_inside_of_a_verb_gets_its_own_options(verb, monkeypatch, capsys):
    seen = []
    verb(lambda arguments: seen.append(arguments.deep) or 1)
    monkeypatch.setitem(sys.modules, "lmroute.cli.outer", SimpleNamespace(__doc__="Outer.", VERBS={"probe": "probe"}))
    monkeypatch.setitem(sys.modules, "lmroute.cli.outer.probe", sys.modules["lmroute.cli.probe"])
    monkeypatch.setitem(cli.VERBS, "outer", "have a verb")

    assert main(["outer", "probe", "--deep"]) == 1
    assert seen == [True]
    with pytest.raises(SystemExit):
        main(["outer", "probe", "--help"])
    assert "usage: lmroute outer probe" in capsys.readouterr().out


def test_help_keeps_the_examples_of_a_docstring(verb, capsys):
    verb(lambda arguments: 0)
    sys.modules["lmroute.cli.probe"].__doc__ = "Probe.\n\n    lmroute probe --deep\n    lmroute probe\n"
    with pytest.raises(SystemExit):
        main(["probe", "--help"])
    assert "\n    lmroute probe --deep\n    lmroute probe\n" in capsys.readouterr().out


@pytest.mark.parametrize("code", ["import lmroute.cli", "import lmroute.cli.emulator"])
def test_importing_the_command_line_imports_nothing_heavy(code):
    heavy = "{'starlette', 'uvicorn', 'httpx', 'dspy', 'litellm', 'hydra', 'xllamacpp'}"
    code += f"; import sys; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk_is_no_bug_of_ours():
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        words = [sys.executable, "-m", "lmroute.cli", "explain", "LMR102"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "cannot write: No space left on device; free some space, or write elsewhere\n"
