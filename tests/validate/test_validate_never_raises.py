"""Judging ends, raises nothing but ConfigError, points into the right file and shows no secret, whatever is written."""

import copy
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lmroute.config.compose import compose, jobs
from lmroute.config.history import history
from lmroute.config.paths import shipped
from lmroute.diagnostics import Report
from lmroute.errors import ConfigError
from lmroute.validate import reporters, selection
from lmroute.validate.pipeline import judge

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""No shrinking: an example takes a tenth of a second, and what is found is small already."""
CONF = {
    str(file.relative_to(shipped("conf")).with_suffix("")): yaml.safe_load(file.read_text(encoding="utf-8"))
    for name in ("provider/openai", "provider/lmstudio", "routing/local_first", "task/ask", "task/sentiment")
    for file in [shipped("conf") / f"{name}.yaml"]
}
SECRETS = ["sk-abcdefgh12345678", "tok-9f8e7d6c5b4a", "hunter2-hunter2"]
SECRET_KEYS = ["auth_token", "api_key", "password", "client_secret", "token", "apikey"]


@pytest.fixture(scope="module")
def home():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextmanager
def written(home: Path, files: dict[str, str]):
    """An overlay of these files only."""
    for file in home.rglob("*.yaml"):
        file.unlink()
    for name, text in files.items():
        file = home / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    before = os.environ.get("LMROUTE_CONFIG_HOME", "")
    os.environ["LMROUTE_CONFIG_HOME"] = str(home)
    try:
        yield
    finally:
        os.environ["LMROUTE_CONFIG_HOME"] = before


def judged(overrides):
    """The findings of one composition, whether it can be composed or not."""
    try:
        return judge(compose(overrides))
    except ConfigError as error:
        return list(error.diagnostics)


def assert_points_somewhere(found):
    """Each place lies in its file; what a schema says of a written key stands where that key is written."""
    for finding in found:
        place = finding.location
        assert finding.message, finding
        if place.override or not place.line:
            continue
        lines = Path(place.file).read_text(encoding="utf-8").split("\n")
        assert place.line <= len(lines), finding
        assert place.column <= len(lines[place.line - 1]) + 1, finding
        name = finding.key.rpartition(".")[2]
        if finding.message == "unknown key" and name.isascii() and name.isidentifier() and place.line > 1:
            assert name in lines[place.line - 1][place.column - 1 :], finding


TEXTS = st.text(max_size=60) | st.text(alphabet="abc:-[]{}&*<>!|#'\"\n \t%@?,$.~0", max_size=60)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from(["???", "${seed}", "${..x}", "${a.b}", "${oc.env:NO_SUCH}", "${", "${oc.decode:x}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=15, suppress_health_check=SLOW, phases=PHASES)
@given(text=TEXTS, group=st.sampled_from(["provider", "routing", "task", "adapter", "experiment"]))
def test_arbitrary_text_in_a_file(home, text, group):
    header = "# @package providers.odd\n" if group == "provider" else ""
    with written(home, {f"{group}/odd": header + text.encode("utf-8", "replace").decode()}):
        assert_points_somewhere(judged([f"{'+' if group == 'experiment' else ''}{group}=odd"]))


def paths_in(node, path=()):
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from paths_in(value, (*path, key))


@st.composite
def mutated(draw):
    """A file of ours with a few keys dropped, renamed, or given other values."""
    name = draw(st.sampled_from(sorted(CONF)))
    document = copy.deepcopy(CONF[name])
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(paths_in(document), key=str) or [()]))
        if not path:
            break
        node = document
        for step in path[:-1]:
            node = node[step]
        change = draw(st.sampled_from(["drop", "rename", "value", "swap"]))
        if change == "drop":
            del node[path[-1]]
        elif change == "rename" and isinstance(node, dict):
            node[draw(st.text("abxz_", min_size=1, max_size=4))] = node.pop(path[-1])
        elif change == "swap":
            other = draw(st.sampled_from(sorted(paths_in(CONF[name]), key=str)))
            value = CONF[name]
            for step in other:
                value = value[step]
            node[path[-1]] = copy.deepcopy(value)
        else:
            node[path[-1]] = draw(VALUES)
    return name, document


@settings(max_examples=25, suppress_health_check=SLOW, phases=PHASES)
@given(mutated())
def test_our_own_files_with_something_changed(home, mutation):
    name, document = mutation
    group = name.partition("/")[0]
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    header = "# @package providers.odd\n" if group == "provider" else ""
    with written(home, {f"{group}/odd": header + text}):
        found = judged([f"{group}=odd"])
        assert_points_somewhere(found)
        for finding in found:
            if finding.code in {"LMR102", "LMR103", "LMR005"} and finding.key.startswith(
                ("providers.odd.", f"{group}.")
            ):
                assert Path(finding.location.file).name in {"odd.yaml", "config.yaml"}, finding


WORDS = st.sampled_from(
    ["provider", "providers", "routing", "task", "seed", "question", "hydra", "openai", "limit", "tags", "0", "rules",
     "experiment", "launcher", "mode", "null", "local_only", "qa", "***", "${seed}", "glob(*)", "a,b", "range(0,2)"]
)  # fmt: skip
JOINTS = st.sampled_from(
    [".", "=", "/", "@", ",", ":", "[", "]", "{", "}", "~", "+", "++", "", " ", "'", '"', "\\", "${", "}"]
)
NEAR = st.lists(WORDS | JOINTS, max_size=8).map("".join)
REAL = st.builds("{}{}={}".format, st.sampled_from(["", "+", "++", "~"]), WORDS, WORDS)


@settings(max_examples=40, suppress_health_check=SLOW, phases=PHASES)
@given(st.lists(NEAR | REAL | st.text(max_size=10), max_size=3))
def test_arbitrary_overrides(overrides):
    found = judged(overrides)
    assert_points_somewhere(found)
    assert "Error executing job" not in "".join(map(str, found))
    assert "HYDRA_FULL_ERROR" not in "".join(map(str, found))


@settings(max_examples=20, suppress_health_check=SLOW, phases=PHASES)
@given(st.lists(NEAR | REAL, max_size=2))
def test_arbitrary_sweeps(overrides):
    with suppress(ConfigError):
        expanded = jobs(overrides)
        assert expanded
        assert all(isinstance(word, str) for job in expanded for word in job)


@settings(max_examples=15, suppress_health_check=SLOW, phases=PHASES)
@given(
    secret=st.sampled_from(SECRETS),
    key=st.sampled_from(SECRET_KEYS),
    shape=st.sampled_from(["{k}: {s}", "{k}: [{s}]", "{k}: {{env: {s}}}", "params: {{{k}: {s}}}", "{k}: {{x: [{s}]}}"]),
    override=st.sampled_from(["{k}={s}", "+{k}={s}", "{k}={{env: {s}}}", "{k}=[{s},", "+params.{k}={s}", "{k}={s},x"]),
    use=st.sampled_from(["file", "override", "environment"]),
)
def test_no_secret_is_ever_shown(home, secret, key, shape, override, use):  # noqa: PLR0917
    text = "# @package providers.odd\nid: odd\ntype: openai\nmodels: [m]\nlocality: cloud\n"
    words = ["provider=odd"]
    if use == "file":
        text += shape.format(k=key, s=secret) + "\n"
    elif use == "override":
        prefix = "+" if override.startswith("+") else ""
        words.append(f"{prefix}providers.odd.{override.lstrip('+').format(k=key, s=secret)}")
    else:
        text += "endpoint: ${oc.env:LMROUTE_TEST_ODD}\n"
        os.environ["LMROUTE_TEST_ODD"] = secret
    with written(home, {"provider/odd": text}):
        try:
            found = judged(words)
            report = selection.run(selection.Request(overrides=tuple(words)))
            shown = [text for part in (Report(tuple(found)), report) for text in texts_of(part)]
            shown += told(words)
        finally:
            os.environ.pop("LMROUTE_TEST_ODD", None)
    assert found
    assert not [text for text in shown if secret in text]


FORMATS = ("text", "full", "json", "github", "sarif", "junit")


def texts_of(report):
    """A report in every form it is shown in."""
    yield from map(str, report.diagnostics)
    for kind in FORMATS:
        yield reporters.render(kind, report, color=False)


def told(words):
    """What ``lmroute why`` tells of the profile, if it can be composed."""
    try:
        composition = compose(words)
    except ConfigError:
        return []
    return [str(history(composition, "providers.odd").as_data())]
