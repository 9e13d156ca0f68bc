"""What we ship: every option composes, keeps to the schemas and holds what it promises."""

import csv
import re

import pytest

from lmroute.config import paths
from lmroute.config.schema import schema
from lmroute.model import AUTO, Locality
from lmroute.validate import load

CONF = paths.shipped("conf")
OPTIONS = {
    group: sorted(f.stem for f in (CONF / group).glob("*.yaml")) for group in ("provider", "routing", "task", "adapter")
}
PROVIDERS = OPTIONS["provider"]
EXTRA = {
    "openai_compatible": ["providers.openai_compatible.endpoint=http://127.0.0.1:9"],
    "ask": ["question=Why?"],
}
ADDRESSES = {
    "lmstudio": "http://127.0.0.1:1234",
    "ollama": "http://127.0.0.1:11434",
    "llamacpp": "http://127.0.0.1:8080",
    "vllm": "http://127.0.0.1:8000",
    "sglang": "http://127.0.0.1:30000",
}


def test_there_is_a_profile_for_every_type():
    types = {load([f"provider={name}", *EXTRA.get(name, ())]).providers[name].type for name in PROVIDERS}
    assert types == set(schema("provider.schema.json")["$defs"]["type"]["enum"])


@pytest.mark.parametrize(("group", "name"), [(g, n) for g in ("task", "adapter", "routing") for n in OPTIONS[g]])
def test_every_option_of_a_group_loads_and_is_called_like_its_file(group, name):
    stack = load([f"{group}={name}", *EXTRA.get(name, ())])
    assert {"task": stack.task.name, "adapter": stack.adapter, "routing": stack.policy.name}[group] == name


def test_the_defaults_work_on_a_bare_machine():
    stack = load()
    assert list(stack.providers) == ["lmstudio", "embedded"]
    assert (stack.policy.name, stack.task.name, stack.adapter, stack.seed) == (
        "local_first",
        "sentiment",
        "auto",
        0,
    )


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_profile_of_a_local_server_is_free_and_stays_here_and_any_other_needs_a_key(name):
    profile = load([f"provider={name}", *EXTRA.get(name, ())]).providers[name]
    if name in ADDRESSES:
        assert profile.endpoint == ADDRESSES[name]
        assert (profile.locality, profile.models) == (Locality.LOOPBACK, (AUTO,))
        assert profile.auth_token is None or profile.auth_token.optional
    elif name == "embedded":
        assert (profile.locality, profile.auth_token, profile.context_window) == (
            Locality.EMBEDDED,
            None,
            4096,
        )
    else:
        assert profile.locality is Locality.CLOUD
        assert profile.auth_token is not None
    if profile.locality is not Locality.CLOUD:
        assert (profile.cost.input_per_mtok, profile.cost.output_per_mtok) == (0, 0)


def test_a_server_of_any_kind_must_be_given_its_address(findings):
    [finding] = findings("provider=openai_compatible")
    assert (finding.code, finding.key) == ("LMR101", "providers.openai_compatible.endpoint")


FILES = sorted(file for file in CONF.rglob("*.yaml") if file.relative_to(CONF).parts[0] != "hydra")
"""All but options of Hydra's own groups, which have no schema of ours."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_file_begins_with_its_package_and_names_its_schema(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    group = file.parent.name if file.parent != CONF else "config"
    schemas = paths.shipped("schemas") / "v1"
    named = schemas / "authoring" / f"{group}.schema.json"
    if group == "tests":
        named = schemas / "policy_test.schema.json"
    headers = {"provider": f"providers.{file.stem}", "adapter": "_global_", "experiment": "_global_"}
    package = f"# @package {headers[group]}" if group in headers else ""
    if package:
        assert lines.pop(0) == package, "Hydra takes the header only from the first line"
    match = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", lines[0])
    assert match
    assert (file.parent / match[1]).resolve() == named
    assert any(line.startswith("# ") for line in lines[1:]) or group == "provider", "say what it is for"


@pytest.mark.parametrize(
    ("task", "columns"),
    [("sentiment", ["text", "label"]), ("extract", ["note", "item", "quantity", "city"]),
     ("qa", ["context", "question", "answer"])],
)  # fmt: skip
def test_a_tasks_data_has_the_columns_its_file_speaks_of(task, columns):
    data = paths.shipped(load([f"task={task}"]).task.data)
    with data.open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == columns
    assert ",".join(columns) in (CONF / "task" / f"{task}.yaml").read_text(encoding="utf-8")
