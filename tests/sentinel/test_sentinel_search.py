"""The control of this room: what plants a key is told, in each form; so what is not told is not there."""

import base64
import html
import json
import pickle
import sqlite3
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest


def fully(text, case):
    return "".join(f"%{byte:{case}}" for byte in text.encode())


WAYS = {
    "plain": str,
    "the first half": lambda key: key.rpartition("SENTINEL")[2][:12],
    "the last half": lambda key: key[-12:],
    "the middle": lambda key: key[-16:-3],
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 after one byte": lambda key: base64.b64encode(f":{key}".encode()).decode(),
    "base64 after two bytes": lambda key: base64.b64encode(f"u:{key}".encode()).decode(),
    "base64 amid text": lambda key: base64.b64encode(f"user:{key}@host/more".encode()).decode(),
    "base64url": lambda key: base64.urlsafe_b64encode(f"~~{key}".encode()).decode().rstrip("="),
    "base64 in a URL": lambda key: quote(base64.b64encode(key.encode()).decode(), safe=""),
    "URL": lambda key: quote(key, safe=""),
    "form": quote_plus,
    "all of it percent, upper": lambda key: fully(key, "02X"),
    "all of it percent, lower": lambda key: fully(key, "02x"),
    "percent twice": lambda key: quote(fully(key, "02x")),
    "JSON": json.dumps,
    "JSON in JSON": lambda key: json.dumps(json.dumps({"a": key})),
    "JSON with \\u": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "JSON of PHP": lambda key: key.replace("/", "\\/"),
    "Python bytes": lambda key: "".join(f"\\x{ord(c):02x}" for c in key),
    "HTML": lambda key: "".join(f"&#{ord(c)};" for c in key) + html.escape(key),
    "hexadecimal": lambda key: key.encode().hex(),
    "HEXADECIMAL": lambda key: key.encode().hex().upper(),
    "wrapped by a terminal": lambda key: "\n   ".join(key[at : at + 7] for at in range(0, len(key), 7)),
    "coloured": lambda key: f"{key[:20]}\x1b[31m{key[20:]}\x1b[0m",
    "UTF-16": lambda key: key.encode("utf-16").decode("latin-1"),
    "repr": repr,
    "a pickle": lambda key: pickle.dumps({"key": key}).decode("latin-1"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_planted_is_found(search, keys, way):
    for key in keys.values():
        assert search.sightings(f"before {way(key)} after".encode("latin-1"), key)


def test_what_is_not_there_is_not_found(search, keys):
    for name, key in keys.items():
        others = "\n".join(way(other) for other in keys.values() if other != key for way in WAYS.values())
        assert search.sightings(f"sk-SENTINEL-*** {name}\n{others}".encode("latin-1"), key) == []


def test_files_and_their_names_are_searched(search, keys, tmp_path):
    key = keys["env"]
    (tmp_path / f"run-{key}").mkdir()
    with sqlite3.connect(tmp_path / "usage.sqlite") as connection:
        connection.execute("create table t (a)")
        connection.execute("insert into t values (?)", (f"x{key}",))
    connection.close()
    (tmp_path / "may-hold-it").write_text(key, encoding="utf-8")
    found = search.sightings_below(tmp_path, [key], frozenset({tmp_path / "may-hold-it"}))
    assert {Path(line.partition(": ")[0]).name for line in found} == {"usage.sqlite", f"run-{key}"}
