"""YAML as OmegaConf's own loader reads it, and what no program could read to its end."""

import subprocess
import sys

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmroute.config.text import yaml11

try:
    from omegaconf._utils import get_yaml_loader
except ImportError:  # OmegaConf 2.4 keeps it elsewhere
    pytest.skip("OmegaConf's loader is not where 2.3 has it", allow_module_level=True)

OMEGACONF = get_yaml_loader()
SIGNS = [" ", "  ", ":", ": ", ",", ", ", "- ", "-", "? ", "?", "{", "}", "[", "]", "#", " # c", "'", '"', "&a", "*a",
         "&b ", "*b", "!x", "!", "!!str ", "!!int ", "@", "%", "`", "<<", "<<: *a", "---", "...", "=", "+", "~", "|",
         "|\n  ", ">-\n  ", "\n", "\n  ", "\n- ", "\n---\n", "\nb: ", "\n  c: ", "\t", "\r", "\x00", "\x85", "\u2028",
         "\ufeff"]  # fmt: skip
WORDS = ["a", "b", "key", '"x"', "'y'", "null", "${a:b}", "http://x:1", "é", "on", "off", "yes", "NO", "y", "True", "1",
         "1e3", "1.5E+3", "-1e-5", "1_000", "1_0.5e3", ".5", "-.5", ".5e1", "1.", "012", "09", "0o14", "0b11", "0b_",
         "0x1f", "0x_", "+12", "12:30", "12:30.5", "08:30", "2001-01-01", "2001-01-01 10:00:00", ".inf", "-.INF",
         ".nan", r"\n", r'"\x41"', r'"\d"', "!!bool x", "!!set {a}", "a: 1\na: 2\n", "1: 1\n1: 2\n"]  # fmt: skip
TEXTS = st.lists(st.sampled_from([*SIGNS, *WORDS]), max_size=12).map("".join) | st.text(max_size=20)


def omegaconf(text):
    """What OmegaConf's loader makes of a text, as a text that knows True from 1; None where it refuses."""
    try:
        return repr(yaml.load(text, Loader=OMEGACONF))
    except Exception:  # noqa: BLE001  its constructors let ValueErrors and KeyErrors escape
        return None


@settings(max_examples=600)
@example("a: 1e3")
@example("a:\t1")  # libyaml would take it
@example("{a: 1? }")  # and this
@example("|#x")
@example("1: a\n1: b")  # only texts are compared
@example("'': !!str [a]")
@example("? !!str [a]\n: 1")
@given(TEXTS)
def test_it_reads_and_refuses_what_omegaconf_reads_and_refuses(text):
    found = yaml11.read(text)
    if found.error and "contains itself" in str(found.error):
        return
    assert (None if found.error else repr(found.document)) == omegaconf(text)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e3", 1000.0), ("1.5e3", 1500.0), ("1_0e2", 1000.0), (".5", 0.5), ("-.5", "-.5"), ("12:30", 750), ("012", 10),
        ("09", "09"), ("0o14", "0o14"), ("0b11", 3), ("1_000", 1000), ("on", True), ("NO", False), ("y", "y"),
        ("2001-01-01", "2001-01-01"), ("~", None), ("${a}", "${a}"),
    ],
)  # fmt: skip
def test_what_plain_scalars_mean(written, value):
    found = yaml11.read(f"a: {written}").document["a"]
    assert (found, type(found)) == (value, type(value))


def test_merged_keys_may_be_written_again_and_others_may_not():
    text = "base: &b {x: 1, y: 2}\none:\n  <<: *b\n  x: 3\n"
    assert yaml11.read(text).document["one"] == {"x": 3, "y": 2}
    assert "duplicate key x" in str(yaml11.read("x: 1\nx: 1\n").error)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &a {b: *a}", "contains itself"),
        ("&a [*a]", "contains itself"),
        ("[" * 150 + "]" * 150, "levels of nesting"),
        ("- " * 150 + "a", "levels of nesting"),
        ("\n".join(["- &a0 [1]"] + [f"- &a{n} [*a{n - 1}]" for n in range(1, 150)]), "levels of nesting"),
        ("\n".join(["- &a0 [1]"] + [f"- &a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 9)]), "values"),
    ],
)
def test_what_would_never_end_is_refused(text, reason):
    assert reason in str(yaml11.read(text).error)


@pytest.mark.parametrize("piece", ["[", "{a: ", "- ", "[{a: "])
def test_nesting_without_end_does_not_end_the_process(piece):
    """libyaml runs out of stack on it, and the process with it."""
    program = f"from lmroute.config.text import yaml11; print(yaml11.read({piece!r} * 50_000).error is not None)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_many_shared_parts_are_fine():
    text = "base: &b [1, 2]\n" + "".join(f"k{n}: *b\n" for n in range(300))
    assert yaml11.read(text).document["k299"] == [1, 2]


def test_nothing_is_nothing():
    assert yaml11.read("# only a comment\n") == yaml11.Text()
