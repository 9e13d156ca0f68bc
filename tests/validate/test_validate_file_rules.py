"""What is wrong with one file by itself: the place, the words, the advice."""

import pytest

from lmroute.validate import files

HEADER = "# @package providers.mine\n"
PROFILE = HEADER + "id: mine\ntype: openai\nmodels: [x]\n"
POLICY = "name: mine\nrules:\n  - name: a\n    use: [embedded]\n"


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What a check says about one file of the user's own: ``told("provider/mine.yaml", text)``."""
    root = tmp_path / "own"
    root.mkdir()
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(root))
    monkeypatch.chdir(root)

    def check(path, text):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return files.check(files.File(root, file, own=True))

    return check


def only(found):
    assert len(found) == 1, found
    return found[0]


def brief(finding):
    return finding.code, f"{finding.location.line}:{finding.location.column}"


MALFORMED = {
    "a tab": (PROFILE + "tags:\n\t- a\n", "6:1", "tab", "spaces"),
    "a key twice": (PROFILE + "id: b\n", "5:1", '"id" stands twice', "keep one"),
    "no space after a colon": (HEADER + "id: mine\ntype:openai\nmodels: [x]\n", "3:1", "no space", "`type: `"),
    "none on the last line": (PROFILE + "endpoint:x\n", "5:1", "no space", "`endpoint: `"),
    "an at sign": (PROFILE + "params: @x\n", "5:9", "begin with @", "quotes"),
    "a percent sign": (PROFILE + "params: %x\n", "5:9", "begin with %", "quotes"),
    "a text that begins with a brace": (PROFILE + "params: {a} b\n", "5:13", "belongs to nothing", "quote"),
    "a brace that is not closed": (PROFILE + "params: {a\nx: y\n", "6:2", "no end", "close"),
    "a template": (PROFILE + "params: {{x}}\n", "5:10", "cannot be a key", "quote"),
    "a colon in a text": (PROFILE + "params: a: b\n", "5:10", "a key cannot stand here", "quote"),
    "an open quote": (PROFILE + 'params: "a\n', "5:9", "no end", "close"),
    "an unknown escape": (PROFILE + 'params: "\\d"\n', "5:11", "escape", "single quotes"),
    "a star": (PROFILE + "params: *a\n", "5:9", "alias", "quote"),
    "an exclamation mark": (PROFILE + "params: !a\n", "5:9", "tag", "quote"),
    "a lone equals sign": (PROFILE + "params: =\n", "5:9", "=", "quotes"),
    "two documents": (PROFILE + "---\nx: 1\n", "5:1", "several documents", "Hydra reads one"),
    "a key that is indented too far": (PROFILE + " x: 1\n", "5:2", "belongs to nothing", "one column"),
    "no number": (PROFILE + "params: 0b_\n", "5:9", "looks like a number", "quotes"),
    "a null character": (PROFILE + "params: \x00\n", "5:9", "U+0000", "remove"),
    "a recursion": (PROFILE + "params: &a [*a]\n", "5:9", "contains itself", "alias"),
    "nothing": ("", "1:1", "empty: it sets nothing", "remove it"),
    "only comments": (HEADER + "# id: mine\n", "1:1", "empty: it sets nothing", "remove it"),
    "a list": (HEADER + "- id: mine\n", "2:1", "a list and no keys", "key: value"),
    "a text": (HEADER + "id:mine\n", "2:1", "a single value and no keys", "space after the colon"),
    "a key that is null": (PROFILE + "params: {~: 1}\n", "5:10", "key that is null", "quotes"),
    "a date": (PROFILE + "params: {a: !!timestamp 2001-01-01}\n", "5:13", "cannot hold a date", "quotes"),
    "a byte order mark": ("\ufeff" + PROFILE, "1:1", "byte order mark", "without BOM"),
    "Latin-1": (PROFILE.encode() + b"# caf\xe9\n", "5:6", "not UTF-8: there is a byte 0xe9", "as UTF-8"),
    "UTF-16": (PROFILE.encode("utf-16"), "1:1", "not UTF-8", "as UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_not_yaml(case, told):
    text, place, message, advice = MALFORMED[case]
    found = [finding for finding in told("provider/mine.yaml", text) if finding.code == "LMR001"]
    assert brief(only(found)) == ("LMR001", place)
    assert message in found[0].message
    assert advice in found[0].help


def test_a_byte_order_mark_is_one_finding(told):
    assert brief(only(told("provider/mine.yaml", "\ufeff" + PROFILE))) == ("LMR001", "1:1")


def test_what_stands_open_says_where_it_began(told):
    finding = only(told("provider/mine.yaml", PROFILE + "params: {a\nx: y\n"))
    assert str(finding.related[0]) == "it begins here (provider/mine.yaml:5:9)"


def test_a_file_that_cannot_be_read(tmp_path):
    gone = files.File(tmp_path, tmp_path / "routing" / "gone.yaml", own=True)
    assert only(files.check(gone)).message.startswith("cannot be read: ")


WANTED = "# @package providers.mine"
HEADERS = {
    "missing": ("provider", "id: mine\n", "1:1", "put at 'provider'"),
    "below a modeline": ("provider", "# yaml-language-server: $schema=x\n" + PROFILE, "2:1", "sees no header"),
    "below a key": ("provider", "id: mine\n" + HEADER, "2:1", "sees no header"),
    "below a byte order mark and a comment": ("provider", "\ufeff# x\n" + PROFILE, "2:1", "sees no header"),
    "without its sign": ("provider", PROFILE.replace("@", ""), "1:1", "with an @"),
    "another name": ("provider", PROFILE.replace("providers.mine", "providers.yours"), "1:1", "at 'providers.yours'"),
    "the group": ("provider", PROFILE.replace("providers.mine", "provider"), "1:1", "at 'provider'"),
    "everywhere": ("provider", PROFILE.replace("providers.mine", "_global_"), "1:1", "at the top"),
    "_name_": ("provider", PROFILE.replace("mine\nid", "_name_\nid"), "1:1", "'_name_' in a header as it is"),
    "_group_": ("provider", PROFILE.replace("providers.mine", "_group_"), "1:1", "'_group_' in a header as it is"),
    "a variable": ("provider", PROFILE.replace("mine\nid", "${name}\nid"), "1:1", "'${name}' in a header as it is"),
    "two values": ("provider", PROFILE.replace("mine\nid", "mine yes\nid"), "1:1", "refuses"),
    "no value": ("provider", PROFILE.replace(" providers.mine", ""), "1:1", "refuses"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_misplaces_a_profile(case, told):
    group, text, place, message = HEADERS[case]
    finding = only([f for f in told(f"{group}/mine.yaml", text) if f.code == "LMR002"])
    assert brief(finding) == ("LMR002", place)
    assert message in finding.message
    assert f"`{WANTED}`" in finding.help


@pytest.mark.parametrize(
    ("path", "text", "advice"),
    [
        ("routing/mine.yaml", "# @package routes\n" + POLICY, "remove the line, or write `# @package routing`"),
        ("adapter/mine.yaml", "adapter: json\n", "begin the file with `# @package _global_`"),
        ("experiment/mine.yaml", "# @package mine\nseed: 1\n", "write `# @package _global_`"),
        ("provider/my mine.yaml", PROFILE, "rename it to letters, digits, - and _"),
        ("provider/yours.yaml", PROFILE, "write `# @package providers.yours`, or rename the file to mine.yaml"),
    ],
)
def test_what_to_do_about_a_header(path, text, advice, told):
    assert only([f for f in told(path, text) if f.code == "LMR002"]).help == advice


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("provider/mine.yaml", PROFILE),
        ("provider/mine.yaml", "\n  \n" + PROFILE),
        ("provider/mine.yaml", "# @note x\n" + PROFILE),
        ("provider/mine.yaml", PROFILE.replace("providers", "_global_.providers")),
        ("provider/cloud/mine.yaml", PROFILE),
        ("routing/mine.yaml", POLICY),
        ("routing/mine.yaml", "# @package routing\n" + POLICY),
        ("adapter/mine.yaml", "# @package _global_\nadapter: json\n"),
        ("experiment/mine.yaml", "# @package _global_\nseed: 1\n"),
        ("provider/mine.yaml", PROFILE.replace("\n", "\r\n")),
        ("hydra/launcher/mine.yaml", "n_jobs: 2\n"),
    ],
)
def test_nothing_is_wrong(path, text, told):
    assert told(path, text) == []


@pytest.mark.parametrize(
    ("written", "message", "advice"),
    [
        ("on", 'true to Hydra (YAML 1.1), the text "on"', 'write "on" if the text is meant, else true'),
        ("No", 'false to Hydra (YAML 1.1), the text "No"', 'write "No" if the text is meant, else false'),
        ("012", "the number 10 to Hydra (YAML 1.1), the number 12", 'write "012" if the text is meant, else 10 or 12'),
        ("0o14", 'the text "0o14" to Hydra (YAML 1.1), the number 12', 'write "0o14" if the text is meant, else 12'),
        ("12:30", "the number 750", 'write "12:30" if the text is meant, else 750'),
        ("1_000", "the number 1000", 'write "1_000" if the text is meant, else 1000'),
        ("0b1", "the number 1 ", 'write "0b1" if the text is meant, else 1'),
        ("-.5", 'the text "-.5"', 'write "-.5" if the text is meant, else -0.5'),
        ("09", 'the text "09"', 'write "09" if the text is meant, else 9'),
    ],
)
def test_what_yaml_1_1_and_1_2_read_differently(written, message, advice, told):
    finding = only([f for f in told("routing/mine.yaml", f"{POLICY}description: {written}\n") if f.code == "LMR003"])
    assert (brief(finding), finding.key) == (("LMR003", "5:14"), "routing.description")
    assert finding.location.end_column == 14 + len(written)
    assert finding.message.startswith(message)
    assert finding.help == advice


@pytest.mark.parametrize(
    "written",
    ["'on'", '"012"', "!!str 012", "&a !!str 012", "y", "n", "~", "true", "12", "1e3", ".5", "1.", "0x1F", ".inf",
     ".nan", "${on}", "2001-01-01", "08:30", "1.2.3", "|\n  on", "", "null"],
)  # fmt: skip
def test_what_both_read_alike(written, told):
    found = told("routing/mine.yaml", f"{POLICY}description: {written}\n")
    assert [finding for finding in found if finding.code == "LMR003"] == []


def test_a_key_is_read_too_and_a_shared_value_once(told):
    found = told("task/mine.yaml", "name: ask\nattributes:\n  on: &x 1_0\n  other: *x\n  <<: {yes: 1}\n")
    assert [brief(f)[1] for f in found if f.code == "LMR003"] == ["3:3", "3:7", "5:8"]


def test_a_value_that_may_be_a_secret_is_not_shown(told):
    found = told("provider/mine.yaml", PROFILE + "auth_token: 0123456\n")
    assert {finding.code for finding in found} == {"LMR003", "LMR005"}
    assert "123456" not in str(found)


@pytest.mark.parametrize(
    ("path", "text", "message", "advice"),
    [
        ("provider/mine.yml", PROFILE, "never .yml", "rename it to mine.yaml"),
        ("provider/mine.YAML", PROFILE, "never .YAML", "rename it to mine.yaml"),
        ("provider/ollama.yaml", PROFILE.replace("mine", "ollama"), "ollama.yaml is read instead", "header and its id"),
        ("routing/local_first.yaml", POLICY, "local_first.yaml is read instead", "give it another name"),
        ("providers/mine.yaml", PROFILE, "'providers' is no group", "did you mean 'provider'?"),
        (
            "stuff/mine.yaml",
            "a: 1\n",
            "'stuff' is no group",
            "provider, routing, task, adapter, telemetry, health, experiment",
        ),
        ("config.yaml", "seed: 1\n", "never read", "+experiment=NAME"),
    ],
)
def test_a_file_that_is_never_read(path, text, message, advice, told):
    finding = only(told(path, text))
    assert brief(finding) == ("LMR004", "1:1")
    assert finding.severity == "warning"
    assert message in finding.message
    assert advice in finding.help


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("presets/mine.yaml", "# @package _global_\nseed: 3\n"),
        ("mine.yaml", "seed: 3\n"),
        ("hydra/job/x.yaml", "a: 1\n"),
    ],
)
def test_a_file_that_can_be_read(path, text, told):
    assert told(path, text) == []


def test_the_earlier_of_two_overlays_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for root in ("conf", "home"):
        (tmp_path / root / "provider").mkdir(parents=True)
        (tmp_path / root / "provider" / "mine.yaml").write_text(PROFILE, encoding="utf-8")
    (tmp_path / "conf" / ".lmroute").touch()
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(tmp_path / "home"))
    found = [finding for file in files.discover() for finding in files.check(file)]
    assert str(only(found)).startswith("home/provider/mine.yaml:1:1: LMR004 conf/provider/mine.yaml is read instead")


@pytest.mark.parametrize(
    ("path", "text", "key", "place"),
    [
        ("provider/mine.yaml", PROFILE + "auth_token: hunter2\n", "providers.mine.auth_token", "5:13"),
        ("provider/mine.yaml", PROFILE + "auth_token: ${oc.env:HUNTER2}\n", "providers.mine.auth_token", "5:13"),
        ("provider/mine.yaml", PROFILE + "auth_token: ${hunter2}\n", "providers.mine.auth_token", "5:13"),
        ("provider/mine.yaml", PROFILE + "auth_token: [hunter2]\n", "providers.mine.auth_token", "5:13"),
        ("provider/mine.yaml", PROFILE + "api_key: hunter2\n", "providers.mine.api_key", "5:10"),
        ("provider/mine.yaml", PROFILE + "endpoint: https://me:hunter2@host\n", "providers.mine.endpoint", "5:11"),
        ("provider/mine.yaml", PROFILE + "endpoint: https://hunter2@host\n", "providers.mine.endpoint", "5:11"),
        ("provider/mine.yaml", PROFILE + "params: {a: {secret: hunter2}}\n", "providers.mine.params.a.secret", "5:22"),
        ("routing/mine.yaml", POLICY + "password: hunter2\n", "routing.password", "5:11"),
        ("task/mine.yaml", "name: qa\ndata: https://me:hunter2@host/d.csv\n", "task.data", "2:7"),
        ("experiment/mine.yaml", "# @package _global_\nproviders: {a: {auth_token: hunter2}}\n",
         "providers.a.auth_token", "2:29"),
        ("hydra/job/mine.yaml", "env_set: {MY_API_KEY: hunter2}\n", "env_set.MY_API_KEY", "1:23"),
    ],
)  # fmt: skip
def test_a_secret_in_a_file(path, text, key, place, told):
    found = told(path, text)
    finding = only([finding for finding in found if finding.code == "LMR005"])
    assert (brief(finding), finding.key) == (("LMR005", place), key)
    assert "{env: " in finding.help
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "written",
    [
        "auth_token: {env: MY_TOKEN}",
        "auth_token: null",
        "auth_token: ???",
        "endpoint: http://host/a@b",
        "tags: [token]",
    ],
)
def test_what_is_no_secret(written, told):
    found = told("provider/mine.yaml", f"{PROFILE}{written}\n")
    assert [finding for finding in found if finding.code == "LMR005"] == []


def test_the_contract_has_composed_keys(told):
    found = told("provider/mine.yaml", HEADER + "id: mine\ntype: openai\nmodles: [x]\ncost: {input_per_mtok: -1}\n")
    assert [(*brief(f), f.key) for f in found] == [
        ("LMR102", "4:1", "providers.mine.modles"),
        ("LMR103", "5:24", "providers.mine.cost.input_per_mtok"),
    ]


def test_what_is_missing_is_missed_where_it_should_be(told):
    finding = only(told("routing/mine.yaml", "name: mine\nrules:\n  - name: a\n"))
    assert (*brief(finding), finding.key) == ("LMR101", "3:5", "routing.rules.0.use")
