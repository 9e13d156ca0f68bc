"""Read a task's labelled data, and say what is wrong with it before a model is asked anything."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.config.paths import shipped
from lmroute.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.experiments.tasks import Task

_SHIPPED = "examples/data"


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled example. ``line`` is where it begins in its file, 1-based; 0 for a question without a file."""

    line: int
    inputs: dict[str, str]
    expected: dict[str, str]


def find(name: str, folder: Path) -> Path:
    """The file that ``task.data`` names: absolute, below ``folder``, or one of lmroute's own.

    Raises:
        DataError: there is no such file.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:  # a ~user that does not exist
        raise DataError(f"{name}: no such data file; there is no such home folder") from error
    own = shipped(_SHIPPED) / path.name
    choices = [folder / path, own] if path.parent.as_posix() == _SHIPPED else [folder / path]
    for choice in choices:
        if choice.is_file():
            return choice
    if choices[0].is_dir():
        raise DataError(f"{choices[0]}: a folder; task.data names a CSV file")
    raise DataError(f"{choices[0]}: no such data file; task.data=FILE.csv is taken from the folder you are in")


def read(path: Path, task: Task) -> list[Row]:
    """All rows of a CSV file with a header line, UTF-8.

    Raises:
        DataError: unreadable, empty, columns missing, or a row incomplete; names the line and the fix.
    """
    rows = list(_rows(_records(_text(path), path), path, task))
    if not rows:
        raise DataError(f"{path}: no rows; it needs a header line {_header(task)} and rows below it")
    return rows


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _records(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line where it begins; a record may span lines, and blank lines are none."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}:{line}: not CSV: {error}; is a quote open?") from error
        if record is None:
            return
        if record:
            yield line, record


def _rows(records: Iterator[tuple[int, list[str]]], path: Path, task: Task) -> Iterator[Row]:
    columns = {field: task.column(field) for field in (*task.inputs, *task.outputs)}
    at, header = next(records, (1, list(columns.values())))
    missing = [column for column in columns.values() if column not in header]
    if missing:
        found = ", ".join(header)
        advice = f"the header must be {_header(task)}"
        raise DataError(f"{path}:{at}: no column {', '.join(missing)} (found {found}); {advice}")
    if twice := [column for column in columns.values() if header.count(column) > 1]:
        raise DataError(f"{path}:{at}: column {', '.join(twice)} is there twice; rename one")
    for line, cells in records:
        if len(cells) > len(header):
            raise DataError(f"{path}:{line}: {len(cells)} fields under {len(header)} columns; quote a text with commas")
        record = dict(zip(header, cells, strict=False))
        empty = [column for column in columns.values() if not record.get(column, "").strip()]
        if empty:
            raise DataError(f"{path}:{line}: {', '.join(empty)} is empty; fill it in or remove the row")
        for field in task.outputs:
            _check_choice(record[columns[field]], task.choices(field), f"{path}:{line}: {columns[field]}")
        values = {field: record[column] for field, column in columns.items()}
        yield Row(line, {f: values[f] for f in task.inputs}, {f: values[f] for f in task.outputs})


def _check_choice(value: str, choices: tuple[str, ...], where: str) -> None:
    if choices and value not in choices:
        raise DataError(f"{where} is {value!r}; it must be one of {', '.join(choices)}")


def _header(task: Task) -> str:
    return ",".join(task.column(field) for field in (*task.inputs, *task.outputs))


def sample(rows: list[Row], limit: int | None, seed: int) -> list[Row]:
    """At most ``limit`` rows in the order of the file; which ones, the seed decides."""
    if limit is None or limit >= len(rows):
        return rows
    chosen = sorted(random.Random(seed).sample(range(len(rows)), limit))  # noqa: S311 - sampling, not secrecy
    return [rows[index] for index in chosen]
