"""What a person sees: complete, readable at any width, and free of what models and files smuggle in."""

import io
import re

import pytest
from rich.console import Console

from lmroute.experiments import report
from lmroute.experiments.data import Row
from lmroute.experiments.outcomes import Outcome, summarise
from lmroute.providers.embedded import Fetch

HOSTILE = "\x1b[31mred\x1b[0m [bold]loud[/bold] [link=http://x]\a\r\n\u202egnorw\u2028\ud83d[/]"
IDENTITY = {
    "task": "sentiment",
    "data": "mine.csv",
    "stack": "local_first@01234567",
    "providers": ["lmstudio", "embedded"],
    "adapter": "CompactAdapter",
}


def outcome(number, answer="positive", expected="positive", text="some text", failed=(), **rest):
    attempts = [{"provider": p, "model": "m", "status": "error", "errorCode": e, "message": m} for p, e, m in failed]
    served = {"provider": "embedded", "model": "smollm2-135m-instruct", "rule": "local"}
    call = {**served, "attempts": [*attempts, {**served, "status": "ok", "errorCode": None}]}
    row = Row(number, {"text": text}, {"sentiment": expected} if expected else {})
    answers = {"sentiment": answer} if answer else {}
    return Outcome(row, answers, (call,) if answer else (), duration_ms=12.3, **rest)


def console(width=140, *, terminal=False):
    colours = "truecolor" if terminal else None
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, highlight=False, color_system=colours)


def shown(show, *arguments, width=140, **options):
    screen = console(width)
    show(screen, *arguments, **options)
    return screen.file.getvalue()


def test_the_choice_is_one_line():
    line = shown(report.show_choice, IDENTITY, rows=3)
    assert line == (
        "sentiment: 3 rows of mine.csv | policy local_first@01234567 | providers lmstudio, embedded"
        " | adapter CompactAdapter\n"
    )
    assert "1 row of" in shown(report.show_choice, IDENTITY, rows=1)
    assert "one question |" in shown(report.show_choice, {**IDENTITY, "data": None}, rows=1)


def test_the_table_has_a_heading_for_every_column_and_a_word_for_every_verdict():
    rows = [outcome(1), outcome(2, answer="negative"), outcome(3, answer="", error="nobody"), outcome(4, expected="")]
    heading, right, wrong, none, unlabelled = shown(report.show_rows, rows).splitlines()
    assert heading.split() == ["input", "output", "provider", "model", "rule", "ms"]
    assert right.split() == ["right", "some", "text", "positive", "embedded", "smollm2-135m-instruct", "local", "12"]
    assert wrong.split()[0] == "wrong"
    assert none.split() == ["none", "some", "text", "nobody", "-", "-", "-", "12"]
    assert unlabelled.split()[0] == "some"


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("word", ["b", "bb "])
def test_in_a_narrow_window_only_input_and_output_give_way(width, word):
    lines = shown(report.show_rows, [outcome(1, answer=word * 99, text=word * 99)], width=width).splitlines()
    assert all(len(line) <= width for line in lines)
    heading, row = lines
    assert heading.split() == ["input", "output", "provider", "model", "rule", "ms"]
    assert re.fullmatch(r"wrong +b[b ]+… +b[b ]+… +embedded +smollm2-135m-instruct +local +12", row)


def test_a_long_table_says_where_the_rest_is():
    lines = shown(report.show_rows, [outcome(number) for number in range(report.SHOWN_ROWS + 5)]).splitlines()
    assert len(lines) == 1 + report.SHOWN_ROWS + 1
    assert lines[-1] == "... and 5 more rows in results.jsonl"


def test_no_rows_are_a_heading():
    assert shown(report.show_rows, []).split() == ["input", "output", "provider", "model", "rule", "ms"]


@pytest.mark.parametrize("terminal", [False, True])
def test_what_models_and_files_say_is_text_and_nothing_else(terminal):
    screen = console(terminal=terminal)
    rows = [outcome(1, answer=HOSTILE, expected="x", text=HOSTILE, failed=[("lmstudio", "server", HOSTILE)])]
    summary = summarise(rows, duration_s=1)
    report.show_choice(screen, {**IDENTITY, "data": HOSTILE}, rows=1)
    report.show_rows(screen, rows)
    report.show_answers(screen, rows)
    report.show_summary(screen, {**summary, "baseline_answer": HOSTILE}, HOSTILE)
    text = screen.file.getvalue()
    assert text.count("[bold]loud[/bold]") >= 4
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text) if terminal else text
    assert not [c for c in plain if c != "\n" and not c.isprintable()]
    assert ("\x1b[31mred" in text) is False


def test_an_answer_to_a_question_is_shown_whole():
    answer = "line one\nline two " + "word " * 100
    assert shown(report.show_answers, [outcome(0, answer=answer, expected="")]) == f"{answer}\n"


def summary_of(*rows, folder="outputs/x"):
    return shown(report.show_summary, summarise(rows, duration_s=2.0), folder)


def test_the_summary_says_how_good_who_what_failed_how_long_and_where():
    refused = [("lmstudio", "transport", "connection refused")]
    lines = summary_of(
        outcome(1, failed=refused), outcome(2, answer="negative", failed=refused), outcome(3)
    ).splitlines()
    assert lines == [
        "accuracy   0.67  (2 of 3 right, 95% interval 0.21 to 0.94; always answering 'positive' gets 1.00)",
        "answered   embedded/smollm2-135m-instruct 3",
        "failed     lmstudio 2 times: transport: connection refused",
        "took       2.0 s, half of the rows within 12 ms, 95% within 12 ms",
        "written    outputs/x",
    ]


def test_the_summary_counts_what_was_not_answered_or_not_to_be_used():
    text = summary_of(
        outcome(1, answer="", error="x", unserved=True),
        outcome(2, answer="", error="y"),
        outcome(3, failed=[("a", "auth", "401")]),
    )
    assert "\nunserved   1 of 3 rows\nunusable   1 of 3 rows\n" in text
    assert "failed     a once: auth: 401" in text


def test_the_summary_of_a_question_speaks_of_no_accuracy():
    lines = summary_of(outcome(0, expected="")).splitlines()
    assert [line.split()[0] for line in lines] == ["answered", "took", "written"]


def test_the_summary_of_nothing():
    assert "answered   nobody" in summary_of()


def test_several_fields_are_told_apart():
    row = Row(1, {"note": "n"}, {"item": "pens", "quantity": "2"})
    assert "by field   item 1.00, quantity 0.00" in summary_of(Outcome(row, {"item": "pens", "quantity": 3}))


def test_a_file_gets_no_escape_sequences_and_a_width_of_its_own(capsys, monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    report.show_rows(report.results_console(), [outcome(1, text="a" * 60)])
    with report.Watch(report.progress_console(), 1) as watch:
        watch.answered(outcome(1))
    output = capsys.readouterr()
    assert "\x1b" not in output.out
    assert "a" * 47 + "…" in output.out
    assert output.err == ""


def test_no_color_is_obeyed_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    report.show_rows(report.results_console(), [outcome(1)])
    assert re.search(r"\x1b\[3\dm", capsys.readouterr().out), "colour where it is wanted"
    monkeypatch.setenv("NO_COLOR", "1")
    report.show_rows(report.results_console(), [outcome(1)])
    assert not re.search(r"\x1b\[[0-9;]*[349]\dm", capsys.readouterr().out)


def test_progress_is_drawn_on_a_terminal():
    screen = console(terminal=True)
    with report.Watch(screen, 2) as watch:
        watch.answered(outcome(1))
        watch.answered(outcome(2, answer="", error="x"))
    drawn = screen.file.getvalue()
    assert "asking" in drawn
    assert "100%" in drawn
    assert "nobody answered" in drawn


@pytest.mark.parametrize("terminal", [False, True])
def test_a_fetch_is_told_once_where_no_bar_can_be_drawn(terminal):
    screen = console(terminal=terminal)
    with report.Watch(screen, 1) as watch:
        for done in (0, 40_000_000, 93_000_000):
            watch.fetching(Fetch(done, 93_000_000, elapsed_s=1.0))
    text = screen.file.getvalue()
    if terminal:
        assert "fetching the embedded model" in text
    else:
        assert text == "fetching the embedded model (93 MB, once) ...\n"
