"""`lmroute init`: what it makes works at once, and it never touches a file that it was not told to."""

import json
import os
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmroute import validate
from lmroute.cli import main
from lmroute.config import paths
from lmroute.config.schema import check_file
from lmroute.diagnostics import Location
from lmroute.scaffold import writing
from lmroute.scaffold.pieces import Kind, pieces

ROOT = Path(__file__).parents[2]
PIECES = {piece.name: piece for piece in pieces()}
EXAMPLES = [name for name, piece in PIECES.items() if piece.kind is Kind.EXAMPLE and name.endswith(".yaml")]
SERVER = "conf/provider/my_server.yaml"
WORKFLOW = ".github/workflows/lmroute.yml"


class Terminal(StringIO):
    def isatty(self):
        return True


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty repository that one is in; nobody can be asked."""
    made = tmp_path / "somewhere"
    (made / ".git").mkdir(parents=True)
    monkeypatch.chdir(made)
    monkeypatch.setattr(sys, "stdin", StringIO())
    return made


@pytest.fixture
def answer(monkeypatch):
    """Somebody sits at a terminal and types these lines."""
    return lambda *lines: monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git/" not in path.as_posix()
    }


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_it_makes_every_file_and_says_so(folder, capsys):
    assert main(["init"]) == 0
    assert contents(folder) == {name: piece.text.encode() for name, piece in PIECES.items()}
    said = capsys.readouterr().out
    assert re.findall(r"^made +(\S+)$", said, re.MULTILINE) == list(PIECES)
    assert said.endswith("      pre-commit install\n")
    assert {WORKFLOW, SERVER, ".vscode/settings.json", ".pre-commit-config.yaml", "conf/.lmroute"} <= PIECES.keys()


def test_the_marker_comes_last_so_that_half_a_project_is_none():
    assert list(PIECES)[-1] == "conf/.lmroute"


def test_what_it_makes_can_be_chosen_at_once(folder):
    main(["init"])
    checked = validate.check(["provider=my_server", "routing=my_policy"])
    assert (list(checked.stack.providers), checked.stack.policy.name) == (["my_server"], "my_policy")
    assert checked.warnings == ()
    experiment = validate.check(["+experiment=my_experiment"])
    assert list(experiment.stack.providers) == ["my_server", "embedded"]
    assert (experiment.stack.policy.name, experiment.stack.task.limit, experiment.warnings) == ("my_policy", 20, ())
    for choice in ("provider=my_server", "routing=my_policy"):  # each by itself, as `lmroute validate` does
        assert validate.check([choice]).warnings == ()


@pytest.mark.parametrize(
    "words", [[], ["provider=my_server", "routing=my_policy"], ["-m", "+experiment=my_experiment"], ["--files-only"]]
)
def test_validate_finds_nothing_in_a_new_project(words, folder, capsys):
    main(["init"])
    capsys.readouterr()
    (folder / "notebooks").mkdir()
    os.chdir(folder / "notebooks")
    assert main(["validate", "--format", "json", *words]) == 0
    assert json.loads(capsys.readouterr().out)["diagnostics"] == []


def test_validate_looks_at_every_file_of_a_project(folder, capsys):
    main(["init"])
    for name in EXAMPLES:
        file = folder / name
        file.write_text(file.read_text(encoding="utf-8") + "nonsense: 1\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["validate", "--format", "text"]) == 1
    said = capsys.readouterr().out
    assert {line.partition(":")[0] for line in said.splitlines() if "LMR102" in line} == set(EXAMPLES)


@pytest.mark.slow
def test_the_workflow_is_one_for_github(folder):
    main(["init"])
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW]
    done = subprocess.run(check, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_keeps_to_the_schema_that_its_modeline_names(name, folder):
    main(["init"])
    file = folder / name
    lines = file.read_text(encoding="utf-8").splitlines()
    at = 1 if lines[0].startswith("# @package") else 0
    schema = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", lines[at])[1]
    named = (file.parent / schema).resolve()
    kind = "policy_test" if file.parent.name == "tests" else file.parent.name
    assert named == folder / ".lmroute" / "schemas" / f"{kind}.schema.json"
    v1 = paths.shipped("schemas") / "v1"
    (made_of,) = (v1 if kind == "policy_test" else v1 / "authoring").glob(named.name)
    assert named.read_text(encoding="utf-8") == made_of.read_text(encoding="utf-8")
    assert check_file(kind, yaml.safe_load("\n".join(lines)), lambda path: Location(name)) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_example_has_the_name_of_a_shipped_file(name):
    assert not (paths.shipped("conf") / Path(name).relative_to("conf")).exists()


def test_editors_find_a_schema_for_every_group_that_has_one(folder):
    main(["init"])
    mapped = json.loads((folder / ".vscode" / "settings.json").read_text(encoding="utf-8"))["yaml.schemas"]
    assert {(folder / schema).resolve() for schema in mapped} == set((folder / ".lmroute" / "schemas").iterdir())
    for schema, files in mapped.items():
        kind = Path(schema).name.removesuffix(".schema.json")
        assert files == f"conf/{'routing/tests' if kind == 'policy_test' else kind}/*.yaml"


def test_a_second_time_everything_is_there(folder, capsys):
    main(["init"])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    capsys.readouterr()
    assert main(["init"]) == 0
    assert capsys.readouterr().out == "everything is there already\n"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_in_a_project_the_examples_are_the_users(folder, capsys):
    main(["init"])
    put(folder / SERVER, "changed: true")
    (folder / "conf" / "routing" / "my_policy.yaml").unlink()
    capsys.readouterr()
    assert main(["init", "--force"]) == 0
    assert capsys.readouterr().out == "everything is there already\n"
    assert (folder / SERVER).read_text(encoding="utf-8") == "changed: true"
    assert not (folder / "conf" / "routing" / "my_policy.yaml").exists()


def test_windows_line_ends_are_no_difference(folder, capsys):
    main(["init"])
    for name in PIECES:
        (folder / name).write_bytes((folder / name).read_bytes().replace(b"\n", b"\r\n"))
    capsys.readouterr()
    assert main(["init"]) == 0
    assert capsys.readouterr().out == "everything is there already\n"


def test_a_folder_can_be_named_and_is_made(folder, capsys):
    assert main(["init", "new/place"]) == 0
    assert contents(folder / "new" / "place").keys() == PIECES.keys()
    said = capsys.readouterr().out
    assert "Next: cd new/place; lmroute validate" in said.replace("\\", "/")
    assert f"to {folder}, for they are read at a repository's" in said


def test_unasked_nothing_is_replaced_and_nothing_made(folder, capsys):
    put(folder / SERVER, "mine: 1\n")
    put(folder / WORKFLOW, "other: 1\n")
    before = contents(folder)
    assert main(["init"]) == 1
    said = capsys.readouterr()
    assert (said.out, contents(folder)) == ("", before)
    assert SERVER in said.err
    assert WORKFLOW in said.err
    assert "--force" in said.err


@pytest.mark.parametrize(("option", "replaced"), [("--force", True), ("--yes", True), ("-y", True), ("--keep", False)])
def test_an_option_answers_for_whoever_cannot_be_asked(option, replaced, folder, capsys):
    put(folder / SERVER, "mine: 1\n")
    assert main(["init", option]) == 0
    assert ((folder / SERVER).read_text(encoding="utf-8") == PIECES[SERVER].text) is replaced
    assert contents(folder).keys() == PIECES.keys()
    assert re.search(rf"^{'replaced' if replaced else 'kept'} +{SERVER}$", capsys.readouterr().out, re.MULTILINE)


def test_at_a_terminal_it_shows_each_difference_and_asks(folder, answer, capsys):
    put(folder / SERVER, "mine: 1\n")
    put(folder / WORKFLOW, "other: 1\n")
    answer("y", "")  # in the order of the names; the empty answer is no
    assert main(["init"]) == 0
    assert (folder / WORKFLOW).read_text(encoding="utf-8") == PIECES[WORKFLOW].text
    assert (folder / SERVER).read_text(encoding="utf-8") == "mine: 1\n"
    said = capsys.readouterr()
    assert "-mine: 1\n" in said.err
    assert "+id: my_server\n" in said.err
    assert f"replace {SERVER}? [y/N]" in said.err
    assert re.search(rf"^kept +{SERVER}$", said.out, re.MULTILINE)


def test_the_end_of_input_is_no_agreement(folder, answer):
    put(folder / SERVER, "mine: 1\n")
    answer()
    assert main(["init"]) == 0
    assert (folder / SERVER).read_text(encoding="utf-8") == "mine: 1\n"


@pytest.mark.parametrize(
    "line",
    ["auth_token: hunter2", "auth_token:\n  hunter2", 'x: {"api_key": "hunter2"}', "a: sk-abcdefghijklmnopqrstuvwx"],
)
def test_a_difference_shows_no_secret(line, folder, answer, capsys):
    put(folder / SERVER, f"id: my_server\n{line}\n")
    answer("n")
    main(["init"])
    main(["init", str(folder), "--dry-run"])
    said = "".join(capsys.readouterr())
    assert "hunter2" not in said
    assert "sk-abc" not in said


def test_a_long_difference_is_cut(folder, capsys):
    put(folder / SERVER, "x: 1\n" * 500)
    main(["init", "--dry-run"])
    said = capsys.readouterr().out
    assert re.search(r"^… and \d{3} more lines$", said, re.MULTILINE)
    assert said.count("-x: 1\n") < 100


def test_a_dry_run_says_it_all_and_does_nothing(folder, answer, capsys):
    put(folder / SERVER, "mine: 1\n")
    before = contents(folder)
    answer("y")
    assert main(["init", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert contents(folder) == before
    assert "would make conf/routing/my_policy.yaml\n" in said
    assert f"would replace {SERVER}, if you agree:\n--- {SERVER}\n" in said


@pytest.mark.parametrize("name", [name for name, piece in PIECES.items() if piece.kind is Kind.SHARED])
def test_a_file_of_other_tools_is_never_touched_but_the_text_to_add_is_printed(name, folder, capsys):
    put(folder / name, "// somebody's own\n{}\n")
    assert main(["init", "--force"]) == 0
    assert (folder / name).read_text(encoding="utf-8") == "// somebody's own\n{}\n"
    said = capsys.readouterr().out
    assert f"{name} is there and stays as it is; add this to it:\n{PIECES[name].text}" in said
    put(folder / name, f"// added\n{PIECES[name].text}")
    assert main(["init"]) == 0
    assert capsys.readouterr().out == "everything is there already\n"


def test_what_stands_in_the_way_is_all_named_before_anything_is_written(folder, capsys):
    put(folder / "conf", "a file")
    (folder / WORKFLOW).mkdir(parents=True)
    before = contents(folder)
    assert main(["init", "--force"]) == 2
    said = capsys.readouterr()
    assert (said.out, contents(folder)) == ("", before)
    assert f"{folder / 'conf'}: is not a folder" in said.err
    assert f"{folder / WORKFLOW}: is a folder" in said.err
    assert len(said.err.splitlines()) == 2


def test_a_file_is_no_place_for_a_project(folder, capsys):
    put(folder / "file", "")
    assert main(["init", "file"]) == 2
    assert f"{folder / 'file'}: is not a folder" in capsys.readouterr().err


def test_a_folder_that_may_not_be_written_to(folder, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)  # as root, no permission is refused
    assert main(["init"]) == 2
    assert f"{folder}: may not be written to" in capsys.readouterr().err
    assert contents(folder) == {}


def test_what_lmroute_ships_is_no_project(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["init"]) == 2
    assert "make your project in a folder of its own" in capsys.readouterr().err
    assert not (ROOT / "conf" / ".lmroute").exists()


def test_a_disk_that_fills_leaves_no_project_and_no_pieces_of_files(folder, capsys, monkeypatch):
    whole, full = Path.write_text, OSError(28, "No space left on device")

    def write_text(self, text, **options):
        whole(self, text[:5], **options)
        if "my_policy" in self.name:
            raise full
        return whole(self, text, **options)

    monkeypatch.setattr(Path, "write_text", write_text)
    assert main(["init"]) == 2
    assert (
        f"{folder / 'conf' / 'routing' / 'my_policy.yaml'}: cannot be written: No space left" in capsys.readouterr().err
    )
    assert paths.project() is None
    assert all(text == PIECES[name].text.encode() for name, text in contents(folder).items())
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert main(["init"]) == 0
    assert contents(folder).keys() == PIECES.keys()


@pytest.mark.skipif(os.name == "nt", reason="modes and links of POSIX")
def test_a_file_keeps_its_mode_and_its_link(tmp_path):
    target = tmp_path / "real"
    put(target, "old")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to(target)
    writing.write(tmp_path / "link", "new\n")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text(encoding="utf-8") == "new\n"
    assert target.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    found=st.dictionaries(st.sampled_from(sorted(PIECES)), st.binary(max_size=30)),
    options=st.sampled_from([[], ["--keep"]]),
)
def test_whatever_is_there_stays_unless_told_otherwise(found, options, folder):
    shutil.rmtree(folder / "made", ignore_errors=True)
    for name, text in found.items():
        path = folder / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    code = main(["init", "made", *options])
    after = contents(folder / "made")
    assert {name: after[name] for name in found} == found
    begun = "conf/.lmroute" in found
    wanted = {name for name, piece in PIECES.items() if not (begun and piece.kind is Kind.EXAMPLE)}
    assert after.keys() == (found.keys() | wanted if code == 0 else found.keys())


ON_A_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # its Ctrl-C reaches this process
from lmroute.cli import main
sys.exit(main(["init"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_control_c_at_the_question_writes_nothing(folder):
    import pty

    put(folder / SERVER, "mine: 1\n")
    before = contents(folder)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(ours, 1024)
        os.write(ours, b"\x03")
        while b"nothing was written" not in said:
            said += os.read(ours, 1024)
        assert process.wait() == 130
    os.close(ours)
    assert contents(folder) == before
