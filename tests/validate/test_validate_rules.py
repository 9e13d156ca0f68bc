"""Findings about what does not fit together in a document that keeps to the schemas."""

import pytest

from lmroute.validate import load


def only(found):
    assert len(found) == 1, found
    return found[0]


def policy(*rules):
    """A policy of rules with these candidates, the last of which takes what the others leave."""
    lines = ["name: mine", "rules:"]
    for index, rule in enumerate(rules):
        when = f", when: {{task: {{eq: task{index}}}}}" if index < len(rules) - 1 else ""
        lines += [f"  - {{name: rule{index}{when},", f"    use: {rule}}}"]
    return "\n".join(lines) + "\n"


def test_a_provider_that_is_not_selected(overlay, findings):
    overlay(routing__mine=policy("[embedded]", "[embedded, openai]"))
    finding = only(findings("provider=[lmstudio,embedded]", "routing=mine"))
    assert (finding.code, finding.key) == ("LMR301", "routing.rules.1.use.1")
    assert str(finding.location) == "own/routing/mine.yaml:6:21"
    assert finding.message == "rule 'rule1': provider 'openai' is not selected"
    assert finding.help == "add it: provider=[lmstudio,embedded,openai]"
    assert load(["provider=[lmstudio,embedded,openai]", "routing=mine"]).policy.name == "mine"


def test_a_provider_that_does_not_exist(overlay, findings):
    overlay(routing__mine=policy("[embeded]", "[embedded]", "[qqq]"))
    misspelt, unknown = findings("provider=embedded", "routing=mine")
    assert misspelt.message == "rule 'rule0': there is no provider 'embeded'"
    assert misspelt.help == "did you mean 'embedded'?"
    assert unknown.help == "selected: embedded"


def test_a_model_that_the_profile_does_not_list(overlay, findings):
    overlay(routing__mine=policy("[openai/gpt-9]", "[openai/gpt-4.1-mini]", "[openai]"))
    finding = only(findings("provider=openai", "routing=mine"))
    assert (finding.code, finding.key) == ("LMR301", "routing.rules.0.use.0")
    assert "lists no model 'gpt-9'" in finding.message
    assert finding.help == "it lists gpt-4.1-mini"


def test_a_server_that_is_asked_for_its_models_may_have_any(overlay):
    overlay(routing__mine=policy("[lmstudio/org/whatever]"))
    assert load(["provider=lmstudio", "routing=mine"]).policy.rules[0].use[0].model == "org/whatever"


@pytest.mark.parametrize(
    ("use", "provider"),
    [
        ("[{select: {locality: [cloud]}}]", "embedded"),
        ("[{select: {types: [ollama]}}]", "embedded"),
        ("[{select: {tags: [cloud]}}]", "embedded"),
        ("[{select: {tags: [local], locality: [loopback]}}]", "embedded"),
    ],
)
def test_a_policy_that_can_never_choose(use, provider, overlay, findings):
    overlay(routing__mine=policy(use, use))
    finding = only(findings(f"provider={provider}", "routing=mine"))
    assert (finding.code, finding.key) == ("LMR302", "routing.rules")
    assert "policy 'mine' can never choose a provider" in finding.message
    assert finding.help.endswith("embedded")


def test_one_rule_without_candidates_is_no_error_while_another_has_one(overlay):
    overlay(routing__mine=policy("[{select: {locality: [cloud]}}]", "[{select: {tags: [local]}}]"))
    assert load(["provider=embedded", "routing=mine"])


def test_providers_that_are_switched_off_cannot_be_chosen(findings):
    finding = only(findings("provider=embedded", "+providers.embedded.enabled=false"))
    assert finding.code == "LMR302"
    assert load(["provider=[embedded,lmstudio]", "+providers.embedded.enabled=false"])


def test_no_provider_at_all_is_the_only_thing_to_say(findings):
    finding = only(findings("provider=[]"))
    assert (finding.code, finding.key) == ("LMR305", "providers")
    assert finding.location.override == "provider=[]"
    assert "lmstudio" in finding.help


def test_two_rules_of_one_name(findings):
    finding = only(findings("routing.rules.1.name=private"))
    assert (finding.code, finding.key) == ("LMR306", "routing.rules.1.name")
    assert finding.location.override == "routing.rules.1.name=private"


def test_a_profile_under_another_name_than_its_id(findings):
    finding = only(findings("+provider@providers.backup=openai"))
    assert (finding.code, finding.key) == ("LMR307", "providers.backup.id")
    assert finding.help.endswith("providers.backup.id=backup")
    stack = load(["+provider@providers.backup=openai", "providers.backup.id=backup"])
    assert stack.providers["backup"].type == "openai"


def test_a_locality_that_cannot_be_true(findings):
    finding = only(findings("providers.lmstudio.endpoint=http://10.0.0.7:1234"))
    assert (finding.code, finding.key) == ("LMR308", "providers.lmstudio.locality")
    assert finding.help.endswith("write private")
    assert load(["providers.lmstudio.endpoint=http://10.0.0.7:1234", "providers.lmstudio.locality=private"])


def test_a_range_with_its_ends_the_wrong_way_round(findings):
    when = "{any: [{prompt_tokens: {between: [9, 3]}}, {max_output_tokens: {between: [3, 3]}}]}"
    finding = only(findings(f"+routing.rules.1.when={when}"))
    assert (finding.code, finding.key) == ("LMR103", "routing.rules.1.when.any.0.prompt_tokens.between")
    assert finding.message == "nothing lies between 9 and 3"


@pytest.mark.parametrize("question", ["", "question=", "question='  '", "task.question='  '"])
def test_ask_without_a_question(question, findings):
    finding = only(findings("task=ask", *filter(None, [question])))
    assert (finding.code, finding.key) == ("LMR101", "question")
    assert "needs a question" in finding.message
    assert finding.location.override == (question if question.startswith("question") else "")


@pytest.mark.parametrize("override", ['question="Why, then?"', "question=Why then?", 'task.question="Why, then?"'])
def test_ask_takes_its_question_by_either_name(override):
    assert load(["task=ask", override]).task.question.replace(",", "") == "Why then?"


def test_a_question_that_the_task_would_not_ask(findings):
    finding = only(findings("question=Why?"))
    assert (finding.code, finding.key, finding.help) == ("LMR103", "question", "add task=ask")
    assert finding.location.override == "question=Why?"


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:99999", "http://127.0.0.1:0", "http://127.0.0.1:x", "http://[::1", "http://[me]:1", "http://:1"],
)
def test_an_endpoint_that_is_no_address(endpoint, findings):
    finding = only(findings("provider=lmstudio", f"providers.lmstudio.endpoint='{endpoint}'"))
    assert (finding.code, finding.key) == ("LMR103", "providers.lmstudio.endpoint")
    assert endpoint in finding.message
    assert "1 to 65535" in finding.help


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1", "http://[::1]:65535/v1", "http://localhost:1"])
def test_an_endpoint_that_is_one(endpoint):
    assert load([f"providers.lmstudio.endpoint='{endpoint}'"]).providers["lmstudio"].endpoint == endpoint


def test_a_task_without_its_data(findings):
    finding = only(findings("task.data=null"))
    assert (finding.code, finding.key) == ("LMR101", "task.data")


def test_everything_that_does_not_fit_is_said_at_once(findings):
    found = findings("task=ask", "routing.rules.1.use=[openai]", "routing.rules.1.name=private")
    assert {finding.code for finding in found} == {"LMR101", "LMR301", "LMR306"}


@pytest.mark.parametrize("group", ["routing=[local_first,local_only]", "task=[sentiment,qa]", "adapter=[chat,json]"])
def test_a_group_of_which_one_is_chosen(group, findings):
    finding = only(findings(group))
    assert (finding.code, finding.location.override) == ("LMR202", "")
    assert finding.help == f"choose one: {group.partition(',')[0].replace('[', '')}"


@pytest.mark.parametrize("words", [["provider=[lmstudio,lmstudio]"], ["+provider=lmstudio"]])
def test_a_profile_that_is_chosen_twice(words, findings):
    finding = only(findings(*words))
    assert (finding.code, finding.message) == ("LMR202", "lmstudio is chosen twice")
    assert finding.location.override == words[-1]


def test_a_profile_may_build_on_another_one(overlay):
    text = "# @package providers.mine\ndefaults: [lmstudio@_here_, _self_]\nid: mine\nendpoint: http://127.0.0.1:9\n"
    overlay(provider__mine=text)
    assert load(["provider=mine"]).providers["mine"].endpoint == "http://127.0.0.1:9"


def test_a_number_from_the_environment(monkeypatch, overlay, findings):
    monkeypatch.setenv("LMROUTE_TEST_WINDOW", "8192")
    profile = "# @package providers.mine\nid: mine\ntype: vllm\nendpoint: http://127.0.0.1:9\nlocality: loopback\n"
    overlay(provider__mine=f"{profile}context_window: ${{oc.env:LMROUTE_TEST_WINDOW}}\n")
    finding = only(findings("provider=mine"))
    advice = "${oc.decode:${oc.env:LMROUTE_TEST_WINDOW}}"
    assert finding.help.endswith(advice)
    overlay(provider__mine=f"{profile}context_window: {advice}\n")
    assert load(["provider=mine"]).providers["mine"].context_window == 8192


@pytest.mark.parametrize("host", ["127.0.0.256", "1.2.3"])
def test_numbers_that_are_no_address(host, findings):
    finding = only(findings(f"providers.lmstudio.endpoint=http://{host}:1234"))
    assert (finding.code, finding.message) == ("LMR103", f'"http://{host}:1234" is no address')


def test_who_is_left_over_because_of_a_misspelt_name_is_not_told_too(overlay, findings):
    overlay(routing__mine=policy("[embeded]"))
    assert only(findings("provider=embedded", "routing=mine")).code == "LMR301"
