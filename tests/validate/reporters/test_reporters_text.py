"""What people read: exact text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute import redact
from lmroute.diagnostics import Diagnostic, Location, Related, Report, Severity
from lmroute.validate.reporters import REPORTERS, excerpt, render
from lmroute.validate.reporters.words import summary

FILE = "provider/mine.yaml"
PROFILE = """\
# @package providers.mine
id: mine
temprature: 0.1
locality: loopback
"""


def at(line, column, end_column=0, end_line=0):
    return Location(FILE, line, column, end_line=end_line or (line if end_column else 0), end_column=end_column)


def unknown(location, **more):
    return Diagnostic("LMR102", "unknown key", location, **more)


def full(*findings, color=False):
    return render("full", Report(findings, {"files": 1}), color=color)


def shown(*findings):
    """The lines of the only excerpt: those between the bars."""
    lines = full(*findings).splitlines()
    return [line.partition(" | ")[2] for line in lines if " | " in line]


FINDINGS = (
    unknown(at(3, 1, 11), key="providers.mine.temprature", help="did you mean 'temperature'?"),
    Diagnostic("LMR304", "no rule can choose it", at(1, 1), severity=Severity.WARNING,
               related=(Related("also used by x", at(2, 5)),)),
    Diagnostic("LMR201", "there is no provider 'olama'", Location("<command line>", override="provider=olama"),
               key="provider", help="did you mean 'ollama'?", overrides=("routing=local_only", "provider=olama")),
)  # fmt: skip


def test_text_is_what_a_finding_says_of_itself_and_a_summary():
    text = render("text", Report(FINDINGS, {"files": 30, "compositions": 26}))

    assert text == "\n".join(map(str, FINDINGS)) + "\n2 errors, 1 warning in 30 files and 26 compositions\n"


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (Report((), {"files": 30, "compositions": 26}), "all good: checked 30 files and 26 compositions"),
        (Report((), {"files": 1, "compositions": 0}), "all good: checked 1 file"),
        (Report((), {"files": 1, "compositions": 1}), "all good: checked 1 file and 1 composition"),
        (Report(), "nothing to check"),
        (
            Report((), {"files": 2, "compositions": 3, "servers": 1}),
            "all good: checked 2 files, 3 compositions and 1 server",
        ),
        (Report(FINDINGS[:1], {"files": 1}), "1 error in 1 file"),
        (Report((), {"files": 1}, folders=("conf", "/a\x1b")), "all good: checked 1 file (conf, /a\\x1b)"),
        (Report((), {"files": 1}, hidden=FINDINGS[:1]), "1 error hidden by --select/--ignore in 1 file"),
        (
            Report(FINDINGS[:1], {"files": 1}, hidden=FINDINGS[1:2]),
            "1 error (and 1 warning hidden by --select/--ignore) in 1 file",
        ),
        (Report(FINDINGS[1:2]), "1 warning"),
        (Report(FINDINGS[:1] * 2 + FINDINGS[1:2] * 2, {"compositions": 2}), "2 errors, 2 warnings in 2 compositions"),
    ],
)
def test_the_summary_counts(report, line):
    assert summary(report) == line


def test_full_shows_the_lines_and_underlines_the_spot(mine):
    mine(PROFILE)

    wanted = """\
error[LMR102]: providers.mine.temprature: unknown key
 --> provider/mine.yaml:3:1
  |
2 | id: mine
3 | temprature: 0.1
  | ^^^^^^^^^^
4 | locality: loopback
  |
  = help: did you mean 'temperature'?

warning[LMR304]: no rule can choose it
 --> provider/mine.yaml:1:1
  |
1 | # @package providers.mine
  | ^
2 | id: mine
  |
  = note: also used by x (provider/mine.yaml:2:5)

error[LMR201]: provider: there is no provider 'olama'
--> <command line>
 |
 | lmroute validate routing=local_only provider=olama
 |                                     ^^^^^^^^^^^^^^
 |
 = help: did you mean 'ollama'?

2 errors, 1 warning in 1 file
"""
    assert full(*FINDINGS) == wanted


def test_full_says_with_which_command_line_a_file_was_found_wanting(mine):
    mine(PROFILE)

    assert "= seen by: lmroute validate provider=mine 'a=b c'" in full(
        unknown(at(3, 1), overrides=("provider=mine", "a=b c"))
    )
    assert "seen by" not in full(unknown(at(3, 1), overrides=()))
    assert "seen by" not in full(unknown(at(3, 1)))


@pytest.mark.parametrize(
    "location",
    [
        Location("provider/absent.yaml", 3, 1),
        Location("provider", 1, 1),  # a folder
        Location(FILE),
        Location(FILE, 99, 1),
        Location("<config>"),
    ],
    ids=str,
)
def test_full_without_lines_to_show_is_the_message_and_the_place(mine, location):
    mine(PROFILE)

    assert full(unknown(location, help="mend it")) == (
        f"error[LMR102]: unknown key\n--> {location}\n = help: mend it\n\n1 error in 1 file\n"
    )


@pytest.mark.parametrize(
    ("line", "column", "end_column", "drawn", "carets"),
    [
        ("a: bad", 4, 7, "a: bad", "   ^^^"),
        ("a: bad", 4, 0, "a: bad", "   ^^^"),  # the end is not known: the word
        ("a: bad", 4, 99, "a: bad", "   ^^^"),
        ("a: bad", 99, 0, "a: bad", "      ^"),
        ("a: ", 4, 0, "a:", "   ^"),  # a value that is not there
        ("tool:\tbad", 7, 10, "tool:    bad", "         ^^^"),
        ("名前: 悪い x", 5, 7, "名前: 悪い x", "      ^^^^"),
        ("名前: 悪い x", 8, 9, "名前: 悪い x", "           ^"),
        ("e\u0301te\u0301: bad", 8, 11, "e\u0301te\u0301: bad", "     ^^^"),
        ("a: x\x1b[31mred", 4, 5, "a: x\ufffd[31mred", "   ^"),
        ("a: x\u202ey", 4, 7, "a: x\ufffdy", "   ^^^"),
        ('"a: b": bad', 9, 12, '"a: b": bad', "        ^^^"),
        ("a: [x, {y: bad}]", 12, 0, "a: [x, {y: bad}]", "           ^^^"),
    ],
)
def test_the_underline_stands_below_the_spot(mine, line, column, *, end_column, drawn, carets):
    mine(line + "\n")

    assert shown(unknown(at(1, column, end_column))) == [drawn, carets]


def test_what_ends_on_another_line_is_underlined_to_the_end_of_its_first_one(mine):
    mine("a:\n  - one   \n  - two\n")

    assert shown(unknown(at(2, 3, 8, end_line=3)))[:3] == ["a:", "  - one", "  ^^^^^"]


def test_other_line_ends_and_a_byte_order_mark_are_not_shown(mine):
    mine("a: 1\r\nb: bad\r\n", encoding="utf-8-sig")

    assert shown(unknown(at(1, 1, 2))) == ["a: 1", "^", "b: bad"]


def test_bytes_that_are_no_text_are_shown_as_such(mine):
    mine("x").write_bytes(b"a: \xff\xfe bad\n")

    assert shown(unknown(at(1, 7, 10))) == ["a: \ufffd\ufffd bad", "      ^^^"]


def test_a_long_line_is_clipped_around_the_spot(mine):
    mine(f"first\na: {'x' * 300} bad {'y' * 300}\nlast\n")

    before, line, carets, after = shown(unknown(at(2, 305, 308)))

    assert line.startswith("…xxx")
    assert line.endswith("yyy…")
    assert len(line) <= excerpt.WIDTH + 2
    assert line[carets.index("^") : carets.rindex("^") + 1] == "bad"
    assert (before, after) == ("…", "…")


def test_a_finding_longer_than_the_room_is_underlined_as_far_as_it_is_shown(mine):
    mine(f"a: {'x' * 300}\n")

    line, carets = shown(unknown(at(1, 4, 304)))

    assert line == f"a: {'x' * 97}…"
    assert carets == " " * 3 + "^" * 97


def test_the_underlined_override_of_a_long_command_line_is_in_sight():
    words = tuple(f"providers.p{n}.models=[a,b,c]" for n in range(20))
    place = Location("<command line>", override=words[11])

    line, carets = shown(unknown(place, overrides=words))

    assert line[carets.index("^") : carets.rindex("^") + 1] == words[11]


def test_an_override_of_an_unknown_command_line_is_shown_by_itself():
    assert shown(unknown(Location("<command line>", override="seed=x"))) == ["seed=x", "^^^^^^"]


@pytest.mark.parametrize(
    ("text", "line", "column", "drawn"),
    [
        ("auth_token: hunter2hunter2\n", 1, 13, ["auth_token: ***", "            ^^^"]),
        ("auth_token:\n  hunter2hunter2\n", 1, 1, ["auth_token:", "^^^^^^^^^^", "  ***"]),
        ("auth_token: >\n  more\n  hunter2hunter2\nid: x\n", 3, 3, ["  ***", "  ***", "  ^^^", "id: x"]),
        ("id: {a: b, token: hunter2hunter2}\n", 1, 5, ["id: {a: b, token: ***", "    ^"]),
        ("note: sk-hunter2hunter2\n", 1, 7, ["note: ***", "      ^^^"]),
        ("endpoint: http://me:hunter2hunter2@host\n", 1, 11, ["endpoint: http***", "          ^^^^"]),
        ("# auth_token: hunter2hunter2\nid: x\n", 2, 1, ["# auth_token: ***", "id: x", "^^"]),
        ("auth_token: {env: hunter2hunter2}\n", 1, 19, ["auth_token: ***", "            ^^^"]),
        ("auth_token: {\nenv: hunter2hunter2}\n", 2, 6, ["auth_token: ***", "***", "^^^"]),
        ("auth_token: {env: OPENAI_API_KEY}\n", 1, 13, ["auth_token: {env: OPENAI_API_KEY}", "            ^"]),
        ("auth_token: {env: [A_B, C_D], optional: true}\n", 1, 1,
         ["auth_token: {env: [A_B, C_D], optional: true}", "^^^^^^^^^^"]),
        ("max_tokens: 32\nkeyring: x\n", 1, 13, ["max_tokens: 32", "            ^^", "keyring: x"]),
    ],
)  # fmt: skip
def test_a_line_that_may_hold_a_secret_is_masked(mine, text, line, column, drawn):
    mine(text)

    assert shown(unknown(at(line, column))) == drawn


def test_where_a_secret_was_found_nothing_is_shown_whatever_the_key(mine):
    mine("note: hunter2hunter2\nmore: |\n  hunter3\n  hunter4\nid: x\n")
    literals = (
        Diagnostic("LMR005", "a secret", at(1, 7)),
        Diagnostic("LMR005", "a secret", at(2, 7, 1, end_line=5)),
    )
    text = full(*literals, unknown(at(5, 1)))

    assert "hunter" not in text
    assert "1 | note: ***" in text


def test_a_secret_that_is_known_is_masked_in_a_line_too(mine):
    redact.remember("unmistakable-words")
    mine("note: these unmistakable-words here\n")

    assert shown(unknown(at(1, 1))) == ["note: these ***", "^^^^"]


@given(st.text(st.characters(exclude_characters="\n\r"), min_size=1, max_size=300), st.data())
def test_the_underline_lies_below_what_is_shown(line, data):
    column = data.draw(st.integers(1, len(line) + 3))
    end = data.draw(st.integers(0, len(line) + 3))
    hidden = data.draw(st.none() | st.integers(0, len(line)))
    cells = excerpt._Cells(line if hidden is None else line[:hidden], masked=hidden is not None)
    first, last = excerpt._span(line, Location("x", 1, column, end_line=1, end_column=end))
    left = cells.left_edge(first)

    text, (start, length) = cells.shown(left), cells.underline(left, first, last)

    assert text.isprintable() or any(unicodedata.category(c) == "Zs" for c in text)
    assert length >= 1
    assert 0 <= start <= excerpt.WIDTH + 1
    assert start + length <= excerpt.WIDTH + 4


def test_color_marks_the_severity_and_changes_nothing_else(mine):
    mine(PROFILE)
    for name in ("text", "full"):
        report = Report(FINDINGS, {"files": 1})
        plain, colored = render(name, report), render(name, report, color=True)

        assert "\x1b[1;31m" in colored
        assert "\x1b[1;33m" in colored
        assert "\x1b" not in plain
        for code in ("0", "1", "1;31", "1;33", "1;34", "1;36"):
            colored = colored.replace(f"\x1b[{code}m", "")
        assert colored == plain


@pytest.mark.parametrize("name", REPORTERS)
def test_what_a_terminal_would_obey_is_escaped(name, mine):
    mine(PROFILE)
    evil = "a\x1b]0;title\x07b\u202ec\ud800d\x9be\x00f\r\n::error::g"
    finding = Diagnostic("LMR102", evil, Location("<command line>", override=evil), key=evil, help=evil,
                         related=(Related(evil, at(1, 1)),), overrides=(evil,))  # fmt: skip

    text = render(name, Report((finding,)))

    assert all(c.isprintable() or c == "\n" for c in text)
    assert "\n::error::g" not in text
