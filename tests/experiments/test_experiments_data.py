"""Data files in every state that people bring them in."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.config.paths import shipped
from lmroute.errors import DataError
from lmroute.experiments import data
from lmroute.experiments.data import Row
from lmroute.experiments.tasks import TASKS

SENTIMENT = TASKS["sentiment"]


@pytest.fixture
def written(tmp_path):
    """Reads some bytes as a file of a task."""

    def read(content, task="sentiment"):
        path = tmp_path / "mine.csv"
        path.write_bytes(content)
        return data.read(path, TASKS[task])

    return read


@pytest.fixture
def complaint(written, tmp_path):
    """What is said about some bytes, without the folder."""

    def complain(content, task="sentiment"):
        with pytest.raises(DataError) as raised:
            written(content, task)
        message = str(raised.value)
        assert message.startswith(str(tmp_path))
        assert "\n" not in message
        return message.removeprefix(str(tmp_path)).lstrip("/\\")

    return complain


def row(line, text, label="positive"):
    return Row(line, {"text": text}, {"sentiment": label})


@pytest.mark.parametrize(
    "content",
    [
        b"text,label\ngood,positive\nbad,negative\n",
        b"text,label\r\ngood,positive\r\nbad,negative\r\n",
        b"\xef\xbb\xbftext,label\ngood,positive\nbad,negative",
        b"label,id,text,text2\npositive,1,good,\nnegative,2,bad,x\n",
        b'"text","label"\n"good","positive"\n"bad","negative"\n',
    ],
    ids=["plain", "CRLF", "BOM", "other columns too", "quoted"],
)
def test_rows_are_read_from_any_csv_dialect_of_the_world(written, content):
    assert written(content) == [row(2, "good"), row(3, "bad", "negative")]


def test_a_row_is_where_it_begins(written):
    content = b'text,label\n"two\nlines",positive\n\n\n"three\r\n\r\nlines",positive\nafter,positive\n'
    assert written(content) == [row(2, "two\nlines"), row(6, "three\r\n\r\nlines"), row(9, "after")]


def test_a_header_may_have_blank_lines_before_it(written):
    assert written(b"\n\ntext,label\ngood,positive\n") == [row(4, "good")]


def test_text_keeps_its_spaces_commas_quotes_and_script(written):
    text = ' "Well, 素晴らしい", she said \u2028'
    quoted = '"' + text.replace('"', '""') + '"'
    assert written(f"text,label\n{quoted},positive\n".encode()) == [row(2, text)]


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.sampled_from(["positive", "negative"])
        )
    )
)
def test_what_a_csv_writer_writes_is_read_again(tmp_path_factory, rows):
    rows = [(text, label) for text, label in rows if text.strip()]
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("text", "label"), *rows])
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    path.write_bytes(file.getvalue().encode())
    if rows:
        assert [(r.inputs["text"], r.expected["sentiment"]) for r in data.read(path, SENTIMENT)] == rows


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "mine.csv: no rows; it needs a header line text,label and rows below it"),
        (b"\n\n", "mine.csv: no rows; it needs a header line text,label and rows below it"),
        (b"text,label\n", "mine.csv: no rows; it needs a header line text,label and rows below it"),
        (b"text,sentiment\na,positive\n", "mine.csv:1: no column label (found text, sentiment); <header>"),
        (b"text;label\na;positive\n", "mine.csv:1: no column text, label (found text;label); <header>"),
        (b"\ngood,positive\n", "mine.csv:2: no column text, label (found good, positive); <header>"),
        (b"text,label\na,positive\n,negative\n", "mine.csv:3: text is empty; fill it in or remove the row"),
        (b"text,label\na,positive\n \t,\n", "mine.csv:3: text, label is empty; fill it in or remove the row"),
        (b"text,label\na\n", "mine.csv:2: label is empty; fill it in or remove the row"),
        (b"text,label\na,positive\nb,mixed\n", "mine.csv:3: label is 'mixed'; it must be one of positive, negative"),
        (b"text,label\na,Positive\n", "mine.csv:2: label is 'Positive'; it must be one of positive, negative"),
        (b"text,label\na,positive\ncaf\xe9,positive\n", "mine.csv:3: not UTF-8 text; save the file as UTF-8"),
        (b"x" * 20_000 + b"\n\xff", "mine.csv:2: not UTF-8 text; save the file as UTF-8"),
        (b"\xff\xfet\0e\0x\0t\0", "mine.csv:1: not UTF-8 text; save the file as UTF-8"),
        (b'text,label\na,positive\n"b,positive\n', "mine.csv:3: not CSV: unexpected end of data; is a quote open?"),
    ],
)  # fmt: skip
def test_a_bad_file_is_described_by_line_and_fix(complaint, content, expected):
    assert complaint(content) == expected.replace("<header>", "the header must be text,label")


def test_a_picture_is_no_data(complaint):
    assert complaint(b"GIF89a\x01\0\x01\0,\0\0").startswith("mine.csv:1: no column text, label")


def test_other_tasks_have_other_columns_and_free_answers(written, complaint):
    rows = written(b"note,item,quantity,city\nn,i,seven,c\n", "extract")
    assert rows == [Row(2, {"note": "n"}, {"item": "i", "quantity": "seven", "city": "c"})]
    assert "no column quantity" in complaint(b"note,item,city\nn,i,c\n", "extract")


def test_a_name_is_meant_from_the_folder_one_is_in(tmp_path):
    (tmp_path / "sub").mkdir()
    mine = tmp_path / "sub" / "mine.csv"
    mine.touch()
    assert data.find("sub/mine.csv", tmp_path) == mine
    assert data.find(str(mine), tmp_path / "elsewhere") == mine


def test_the_examples_are_found_from_anywhere_and_yield_to_ones_own(tmp_path):
    name = "examples/data/sentiment.csv"
    assert data.find(name, tmp_path) == shipped("examples/data") / "sentiment.csv"
    own = tmp_path / name
    own.parent.mkdir(parents=True)
    own.touch()
    assert data.find(name, tmp_path) == own


@pytest.mark.parametrize("name", ["none.csv", "sentiment.csv", "data/sentiment.csv", "examples/data/none.csv"])
def test_a_file_that_is_not_there(tmp_path, name):
    with pytest.raises(DataError) as raised:
        data.find(name, tmp_path)
    assert str(raised.value).startswith(f"{tmp_path / name}: no such data file; task.data=FILE.csv")


def test_a_home_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no such data file"):
        data.find("~nobody-of-that-name/x.csv", tmp_path)


@pytest.mark.parametrize("name", ["sentiment", "extract", "qa"])
def test_what_we_ship_is_good_data(name):
    rows = data.read(shipped("examples/data") / f"{name}.csv", TASKS[name])
    assert len(rows) >= 20
    assert len({tuple(row.inputs.values()) for row in rows}) == len(rows)
    assert all(row.inputs.keys() == set(TASKS[name].inputs) for row in rows)


ROWS = [row(index + 2, str(index)) for index in range(30)]


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_a_sample_keeps_the_order_and_is_the_seeds(limit, seed):
    chosen = data.sample(ROWS, limit, seed)
    assert len(chosen) == min(limit, len(ROWS))
    lines = [row.line for row in chosen]
    assert lines == sorted(set(lines))
    assert data.sample(ROWS, limit, seed) == chosen


def test_seeds_choose_differently_and_no_limit_is_all():
    assert len({tuple(row.line for row in data.sample(ROWS, 5, seed)) for seed in range(10)}) > 5
    assert data.sample(ROWS, None, 0) == ROWS


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("text,label,text\na,positive,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"twice\.csv:1: column text is there twice"):
        data.read(path, TASKS["sentiment"])


def test_a_text_with_an_unquoted_comma_is_refused(tmp_path):
    path = tmp_path / "comma.csv"
    path.write_text("text,label\nfine,positive\ngood, really good,positive\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"comma\.csv:3: 3 fields under 2 columns; quote"):
        data.read(path, TASKS["sentiment"])


def test_a_folder_is_called_one(tmp_path):
    with pytest.raises(DataError, match=r"a folder; task\.data names a CSV file"):
        data.find(".", tmp_path)
