"""The lock as a file: where it is looked for, what is read of it, and what is wrong with it."""

import json
import sys

import pytest

from lmroute.lock import FILE, Instance, Lock, LockedModel, LockedProvider, address, dump, place, read

ENTRY = LockedProvider("vllm", "2026-03-01T09:30:00Z", models=(LockedModel("a"),), answers={"auto": "a"})


def reading(folder, text):
    (folder / FILE).write_text(text, encoding="utf-8")
    return read(folder / FILE)


def told(found):
    return [(one.code, one.location.line, one.key, one.message) for one in found.findings]


def test_it_lies_beside_the_conf_of_the_project(tmp_path, monkeypatch):
    inner = tmp_path / "src" / "deep"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert place() == inner / FILE  # no project: here
    (tmp_path / ".git").mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / ".lmroute").touch()
    assert place() == tmp_path / FILE


def test_no_file_is_no_reading(tmp_path):
    assert read(tmp_path / FILE) is None


def test_a_lock_is_read_with_the_places_of_its_keys(tmp_path):
    found = reading(tmp_path, dump(Lock({"box": ENTRY})))
    assert (found.lock, found.findings) == (Lock({"box": ENTRY}), ())
    lines = found.text.splitlines()
    assert '"id": "a"' in lines[found.locate(("providers", "box", "models", "0")).line - 1]
    assert '"type"' in lines[found.locate(("providers", "box", "type"), key=True).line - 1]
    assert '"box"' in lines[found.locate(("providers", "box", "nowhere")).line - 1]


WHOLE = json.loads(dump(Lock({"box": ENTRY})))


def newer(version):
    return [("LMR331", 1, "format_version", f"has format {version}, and this lmroute reads 1.0")]


def changed(**fields):
    return json.dumps({**WHOLE, **fields})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [("LMR330", 1, "", "is no JSON: expecting value")]),
        ("{\n<<<<<<< ours", [("LMR330", 2, "", "is no JSON: expecting property name enclosed in double quotes")]),
        ("[]", [("LMR330", 1, "", "a list is not a mapping")]),
        ("[" * 100_000, [("LMR330", 1, "", "is no lock: it is nested too deeply")]),
        ('{"format_version": "1.0"}', [("LMR330", 1, "providers", "a required key is missing")]),
        (changed(format_version="1.1"), newer("1.1")),
        (changed(format_version="12.0", more=1), newer("12.0")),
        (changed(format_version="0.9"), [("LMR330", 1, "format_version", '"0.9" does not have the right form')]),
        (changed(format_version=1.0), [("LMR330", 1, "format_version", "1.0 is not a text")]),
        (changed(more=1), [("LMR330", 1, "more", "unknown key")]),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(tmp_path, text, found):
    wrong = reading(tmp_path, text)
    assert wrong.lock is None
    assert told(wrong) == found
    assert all("lmroute lock --fresh" in finding.help for finding in wrong.findings)


def test_what_is_no_text_is_told(tmp_path):
    (tmp_path / FILE).write_bytes(b'{"\xff": 1}')
    (finding,) = read(tmp_path / FILE).findings
    assert (finding.code, finding.message) == ("LMR330", "cannot be read: not UTF-8")
    (tmp_path / "folder").mkdir()
    if sys.platform != "win32":
        (finding,) = read(tmp_path / "folder").findings
        assert finding.message == "cannot be read: Is a directory"
        assert "--fresh" not in finding.help


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        (None, None),
        ("http://127.0.0.1:1234/v1/", "http://127.0.0.1:1234/v1"),
        (" https://me:pass@llm.example.org/x?key=abc#d", "https://llm.example.org/x"),
        ("http://[", ""),
    ],
)
def test_an_address_shows_no_password(endpoint, shown):
    assert address(endpoint) == shown


def test_each_missing_key_is_told_once(tmp_path):
    found = reading(tmp_path, '{"format_version": "1.0", "providers": {"box": {}}}').findings
    assert len({one.key for one in found}) == len(found) == 10


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        ("lmstudio", "Rook/Owl@q4_k_m", True),
        ("lmstudio", "rook/owl:2", True),
        ("lmstudio", "rook/owl@q8_0", False),
        ("lmstudio", "rook/bare@anything", True),  # its quantization is not told
        ("vllm", "rook/owl@q4_k_m", False),
    ],
)
def test_what_else_lm_studio_calls_a_model_is_that_model(kind, name, found):
    models = (LockedModel("rook/owl", quantization="Q4_K_M"), LockedModel("rook/bare"))
    entry = LockedProvider(kind, "2026-03-01T09:30:00Z", models=models)
    assert (entry.answering(name) is not None) is found


def test_who_answers_is_what_was_found_out_else_a_name_of_the_list():
    entry = LockedProvider(
        "lmstudio",
        "2026-03-01T09:30:00Z",
        models=(LockedModel("x/A", context_window=9, max_context_window=50), LockedModel("b", max_context_window=70)),
        answers={"auto": "copy", "gone": None, "b": None},
        loaded=(Instance("copy", "x/A", 20),),
    )
    assert (entry.answering("auto").id, entry.window("auto"), entry.most("auto")) == ("x/A", 20, 20)
    assert (entry.answering("X/a").id, entry.window("X/a")) == ("x/A", 9)  # written into the profile later
    assert entry.answering("b") is None  # there, and yet it was found that nobody answers
    assert (entry.answering("gone"), entry.window("gone"), entry.most("nothing")) == (None, None, None)
    plain = LockedProvider("vllm", "2026-03-01T09:30:00Z", models=entry.models)
    assert (plain.window("b"), plain.most("b")) == (None, 70)
