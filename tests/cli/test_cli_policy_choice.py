"""A policy as a command line names it: an option, a file, either of them as git has it."""

import os
import subprocess

import pytest

from lmroute.cli.policy.choice import policy_of, reservations
from lmroute.cli.policy.revision import in_revision
from lmroute.config.paths import MARKER
from lmroute.errors import ConfigError, LmrouteError

POLICY = "name: {}\nrules:\n  - name: all\n    use: [embedded]\n"
STACK = ("provider=[embedded,lmstudio]",)
RULE = ("routing", "rules", "0")


def git(folder, *words):
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=folder, env=own, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project in git whose policy ``mine`` is called ``now`` and was called ``before`` when it was committed."""
    file = tmp_path / "conf" / "routing" / "mine.yaml"
    file.parent.mkdir(parents=True)
    (tmp_path / "conf" / MARKER).touch()
    file.write_text(POLICY.format("before"), encoding="utf-8")
    git(tmp_path, "init", "--initial-branch=main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message=x")
    file.write_text("# moved down by a line\n" + POLICY.format("now"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("word", "name", "place"),
    [
        (None, "local_only", "/conf/routing/local_only.yaml"),
        ("mine", "now", "conf/routing/mine.yaml:4:5"),
        ("conf/routing/mine.yaml", "now", "conf/routing/mine.yaml:4:5"),
        ("main:mine", "before", "main:conf/routing/mine.yaml:3:5"),
        ("HEAD:conf/routing/mine.yaml", "before", "HEAD:conf/routing/mine.yaml:3:5"),
    ],
)
def test_each_way_to_name_a_policy(project, word, name, place):
    chosen = policy_of(word, STACK if word else (*STACK, "routing=local_only"))
    assert chosen.stack.policy.name == name
    assert place in str(chosen.locate(RULE)).replace("\\", "/")
    assert list(chosen.stack.providers) == ["embedded", "lmstudio"]


def test_what_the_overrides_set_in_the_policy_goes_with_it(project):
    overrides = (*STACK, "routing.name=other")
    file = policy_of("conf/routing/mine.yaml", overrides)
    assert file.stack.policy.name == "now"
    assert str(file.locate(("routing", "name"))).startswith("conf/routing/mine.yaml")
    assert policy_of("mine", overrides).stack.policy.name == "other"


def test_an_option_is_not_shadowed_by_a_file_of_its_name(project):
    (project / "mine").write_text("no policy", encoding="utf-8")
    assert policy_of("mine", STACK).stack.policy.name == "now"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("mien", "there is no policy 'mien': did you mean 'mine'?"),
        ("mien.yaml", "mien.yaml: cannot be read: No such file"),
        ("mian:mine", "git knows no commit 'mian'"),
        ("main:mien", "\n  help: did you mean 'mine'?"),
        ("main:mien.yaml", "'main' has no policy 'mien.yaml'"),
        ("--output=x:mine", "git knows no commit '--output=x'"),
    ],
)
def test_a_policy_that_is_not_there(project, word, said):
    with pytest.raises(LmrouteError) as raised:
        policy_of(word, STACK)
    assert said in str(raised.value)
    assert raised.value.exit_code == 2
    assert not (project / "x").exists()


@pytest.mark.parametrize("word", ["mine", "conf/routing/mine.yaml", "main:mine"])
@pytest.mark.parametrize("override", ["routing=local_only", "+routing=local_only"])
def test_a_policy_is_chosen_once(project, word, override):
    with pytest.raises(LmrouteError) as raised:
        policy_of(word, (*STACK, override))
    assert str(raised.value) == f"'{word}' and '{override}' both choose the policy: leave out {override}"
    assert raised.value.exit_code == 2


def test_a_revision_is_looked_for_in_the_repository_of_the_current_directory_only(project):
    # lmroute's own checkout has such a commit and such a policy; neither is meant.
    with pytest.raises(LmrouteError) as raised:
        policy_of("HEAD~1:local_first", STACK)
    assert f"git knows no commit 'HEAD~1' in the repository {project.resolve().as_posix()}" in raised.value.args[0]


def test_what_a_revision_has_is_told(project):
    with pytest.raises(LmrouteError) as raised:
        policy_of("HEAD:local_first", STACK)
    said = str(raised.value)
    assert said.startswith("'HEAD' has no policy 'local_first' in the repository ")
    assert "help: it has mine there; policies that lmroute ships, or your own folder has, are not in this" in said


def test_the_shipped_folder_is_one_more_where_it_lies_in_the_repository(project, monkeypatch):
    shipped = project / "shipped" / "conf"
    (shipped / "routing").mkdir(parents=True)
    (shipped / "routing" / "theirs.yaml").write_text(POLICY.format("theirs"), encoding="utf-8")
    git(project, "add", ".")
    git(project, "commit", "--message=y")
    roots = (shipped, project / "conf")
    monkeypatch.setattr("lmroute.config.paths.roots", lambda: roots)
    assert "name: theirs" in in_revision("HEAD", "theirs")[0]
    with pytest.raises(LmrouteError, match="'HEAD~1' has no policy 'theirs'"):
        in_revision("HEAD~1", "theirs")


def test_outside_of_a_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LmrouteError, match="is in no git repository"):
        policy_of("main:mine.yaml", STACK)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name: x\nrules:\n  - name: all\n    use: [embedded]\n    prio: 3\n", "bad.yaml:5:5: LMR102"),
        ("name: x\nrules: [\n", "bad.yaml:3:1: LMR001"),
        ("- name: x\n", "bad.yaml:1:1: LMR103"),
        ("name: x\nrules:\n  - {name: all, use: [embedded], when: {teir: {eq: pro}}}\n", "bad.yaml:3:"),
    ],
)
def test_a_file_that_cannot_be_read_is_its_findings(tmp_path, monkeypatch, text, found):
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        policy_of("bad.yaml", STACK)
    assert str(raised.value).startswith(found)


def test_a_file_may_refer_to_the_rest_of_the_configuration(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("name: ${task.name}\nrules:\n  - {name: all, use: [embedded]}\n", encoding="utf-8")
    assert policy_of(str(file), (*STACK, "task=qa")).stack.policy.name == "qa"


def test_a_policy_that_does_ill_is_read_with_reservations(tmp_path, monkeypatch):
    file = tmp_path / "ill.yaml"
    file.write_text("name: ill\nrules:\n  - {name: all, use: [embedded, openai]}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ill = policy_of("ill.yaml", STACK)
    assert ill.stack.policy.name == "ill"
    assert "a run would refuse this policy (LMR301 at ill.yaml:3:" in reservations(ill)
    assert reservations(policy_of("local_first", STACK)) == ""
