"""Which files there are, what is said of any of them, and that a composition says the same."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lmroute.config import packages, paths
from lmroute.config.schema import schema
from lmroute.config.text import yaml11
from lmroute.errors import ConfigError
from lmroute.validate import check, files
from lmroute.validate.suppressions import apply

PROFILE = "# @package providers.mine\nid: mine\ntype: openai\nmodels: [x]\n"
GROUPS = [*packages.GROUPS, "hydra/job", "providers", ""]
SECRET = "hunter2hunter2"
KEYS = sorted(
    {key for group in ("provider", "routing", "task") for key in schema(f"{group}.schema.json")["properties"]}
)
LINES = [
    *(f"{key}: " for key in KEYS), "password: ", "on: ", "- ", "  ", "# @package providers.mine\n",
    "# lmroute: ignore[", "LMR003]", "\n",
    "{", "}", "[", "]", ", ", ": ", '"', "'", "|\n  ", "&a ", "*a", "!!int ", "<<: ", "012", "1_0",
    "on", "${oc.env:X}", "${", "???", "http://a:b@c", "---\n", "\t", "\r\n", "\x85", "\x00", "é", "\ufeff",
    "0x" + "f" * 5000, "1" * 5000, "1:" * 200 + "1.5", "[" * 120,
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(LINES), max_size=25).map("".join)


def test_nothing_is_wrong_with_what_is_shipped():
    found = files.discover()
    told = [finding for file in found for finding in files.check(file)]
    assert apply(told, found) == []
    assert {file.group for file in found} >= {"", "provider", "routing", "task", "adapter"}
    assert not any(file.own for file in found)


def test_every_file_is_found_but_what_editors_leave_behind(tmp_path, monkeypatch):
    names = ["provider/a.yaml", "provider/b.yml", "provider/in/c.yaml", "stuff/d.yaml", "e.yaml", "provider/empty.yaml"]
    others = [
        "provider/.a.yaml",
        "provider/a.yaml~",
        "provider/a.yaml.bak",
        ".git/f.yaml",
        "provider/g.txt",
        ".lmroute",
    ]
    for name in [*names, *others]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.yaml").mkdir()
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(tmp_path))
    own = [file for file in files.discover() if file.own]
    assert [file.path.relative_to(tmp_path).as_posix() for file in own] == sorted(names)
    assert [(file.group, file.name) for file in own if "c.yaml" in file.shown] == [("provider", "in/c")]
    assert [file.path for file in files.discover([tmp_path])] == [file.path for file in own]


@pytest.mark.parametrize(
    "text",
    [
        PROFILE + "enabld: true\ncost: {input_per_mtok: -1, foo: 1}\nauth_token: sk-1\ncapabilities:\n  tools: maybe\n",
        "# @package providers.mine\nid: mine\n",
        PROFILE + "tags: [x\nlocality: cloud\n",
        PROFILE + "id: other\n",
        PROFILE + "\ttags: [x]\n",
        PROFILE + "auth_token: *hunter2\n",
        PROFILE + "timeouts: {connect_s: .nan}\n",
        PROFILE + "params: &p [temperature]\n",
    ],
)
def test_what_a_composition_finds_too_is_the_same_finding(text, overlay):
    folder = overlay(provider__mine=text)
    alone = [finding for file in files.discover([folder]) for finding in files.check(file)]
    with pytest.raises(ConfigError) as raised:
        check(["provider=mine"])
    assert alone
    assert set(alone) == set(raised.value.diagnostics)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("provider", b"\xff\xfe")
@example("task", b"a: \xc2\x85b: # lmroute: ignore[")
@example("provider", b"seed: 0x" + b"f" * 5000)
@example("routing", b"rules: " + b"[" * 90 + b"]" * 90)
@example("task", b"name: 0" + b"7" * 5000)
@given(st.sampled_from(GROUPS), TEXTS.map(str.encode) | st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_file_has_findings_at_places_in_it_and_nothing_else(tmp_path, group, content):
    path = tmp_path / group / "mine.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    file = files.File(tmp_path, path, own=True)
    lines = yaml11.lines(file.text)
    for finding in apply(files.check(file), [file]):
        place = finding.location
        assert place.file == file.shown
        assert 1 <= place.line <= len(lines) + 1
        assert 1 <= place.column <= max(map(len, lines)) + 2


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("provider", "auth_token", "{{{}}}", "")  # a key, to YAML
@example("provider", "auth_token", "*{}", "")  # an alias
@example("provider", "auth_token", "!{}", "")  # a tag
@given(
    st.sampled_from(["provider", "routing", "task", "experiment", "hydra/job"]),
    st.sampled_from(["auth_token", "api_key", "password", "auth_token.env", "auth_token.command", "a.token", "x.key"]),
    st.sampled_from(["{}", "'{}'", '"{}"', "[{}]", "*{}", "!{}", "&{} 1", "|\n     {}", "{{{}: 1}}", "{{{}}}", "{}: 1",
                     "@{}", '"\\{}', "${{oc.env:{}}}", "https://a:{}@b", "0o14 # {}", "{} {{a}}", "[{}"]),
    st.sampled_from(["", "# lmroute: ignore[{}]\n", "id: x\nid: x\n", "\t"]),
)  # fmt: skip
def test_no_secret_is_shown(tmp_path, group, key, form, more):
    path = tmp_path / group / "mine.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    outer, _, inner = key.partition(".")
    value = form.format(SECRET)
    line = f"{outer}:\n  {inner}: {value}\n" if inner else f"{outer}: {value}\n"
    path.write_text(line + more.format(SECRET), encoding="utf-8")
    file = files.File(tmp_path, path, own=True)
    assert SECRET not in " ".join(map(str, apply(files.check(file), [file])))


def test_checking_files_imports_neither_hydra_nor_a_client():
    program = (
        "import sys; from lmroute.validate import files, suppressions; found = files.discover();"
        "suppressions.apply([f for file in found for f in files.check(file)], found);"
        "print(sorted({'hydra', 'omegaconf', 'dspy', 'litellm', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_file_outside_of_every_known_folder(tmp_path):
    path = tmp_path / "provider" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(PROFILE, encoding="utf-8")
    (file,) = files.discover([tmp_path])
    assert (file.own, file.package, files.check(file)) == (True, ("providers", "mine"), [])
    assert Path(file.shown) == path
    assert paths.shipped("conf") != file.root
