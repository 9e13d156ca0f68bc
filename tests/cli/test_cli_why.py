"""``lmroute why``: the chain of a composed value."""

import json

import pytest

from lmroute.cli import main


def why(capsys, *words):
    code = main(["why", *words])
    return code, capsys.readouterr()


def chain(capsys, *words):
    code, output = why(capsys, *words, "--json")
    assert code == 0, output.err
    return json.loads(output.out)


def test_files_and_overrides_in_merge_order_and_who_won(capsys):
    told = chain(capsys, "task.limit", "+experiment=ab", "task.limit=3")
    assert told["value"] == "3"
    assert [(step["did"], step["value"], step["wins"]) for step in told["steps"]] == [
        ("set", "null", False), ("replaced", "20", False), ("replaced", "3", True),
    ]  # fmt: skip
    assert told["steps"][1]["chosen_by"] == "+experiment=ab"
    assert told["steps"][2]["place"]["override"] == "task.limit=3"


def test_a_reference_is_followed(capsys):
    code, output = why(capsys, "task.question", "task=ask", "question=Why?")
    assert code == 0
    assert '${question} -> question = "Why?"' in output.out
    assert "config.yaml:16:11" in output.out


def test_lists_are_replaced_and_said_to_be(capsys):
    assert (
        "lists are replaced, never merged"
        in why(capsys, "providers.embedded.tags", "providers.embedded.tags=[z]")[1].out
    )


@pytest.mark.parametrize(
    ("words", "did"),
    [
        (["seed", "~seed"], ["set", "deleted"]),
        (["seed", "++seed=4"], ["set", "replaced"]),
        (["providers.embedded.tags", "providers.embedded.tags.0=z"], ["set", "changed inside"]),
        (["providers.backup.type", "+provider@providers.backup=openai"], ["set"]),
        (["providers", "provider=openai"], ["set", "chosen"]),
        (["providers.embedded.timeouts", "+providers.embedded.timeouts.idle_s=1"], []),
    ],
)
def test_each_way_to_write_a_key(capsys, words, did):
    assert [step["did"] for step in chain(capsys, *words)["steps"]] == did


def test_a_mapping_tells_who_set_each_key(capsys):
    children = chain(capsys, "providers.openai", "provider=openai", "providers.openai.models=[m]")["children"]
    places = {child["key"]: child["place"] for child in children}
    assert places["models"]["override"] == "providers.openai.models=[m]"
    assert places["type"]["file"].endswith("openai.yaml")


def test_what_is_not_set_has_the_default_of_the_program(capsys):
    assert chain(capsys, "providers.lmstudio.timeouts.total_s")["note"] == "not set; the default is 120.0"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("task.limt", "did you mean 'task.limit'?"),
        ("providers.openai.endpoint", "profile 'openai' is not selected"),
        ("providers.opena.endpoint", "did you mean 'openai'?"),
        ("provider", "lmroute why providers"),
        ("hydra.run", "--cfg hydra"),
        ("", "that is no key"),
    ],
)
def test_an_unknown_key_is_a_finding(capsys, key, said):
    code, output = why(capsys, key)
    assert (code, output.out) == (1, "")
    assert said in output.err


def test_no_secret_is_shown(capsys, monkeypatch):
    monkeypatch.setenv("LMROUTE_TEST_KEY", "tok-9f8e7d6c")
    words = [
        "provider=openai",
        "providers.openai.auth_token={env: tok-1234abcd}",
        "task.data=${oc.env:LMROUTE_TEST_KEY}",
    ]
    for key in ("providers.openai", "providers.openai.auth_token", "providers", "task", "task.data"):
        for form in ([], ["--json"]):
            output = why(capsys, key, *words, *form)[1]
            assert "tok-" not in output.out + output.err
