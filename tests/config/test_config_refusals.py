"""What Hydra refuses, told word for word of the command line."""

import pytest

from lmroute.config.compose import compose, jobs
from lmroute.errors import ConfigError


def told(run, *overrides):
    with pytest.raises(ConfigError) as raised:
        run(list(overrides))
    return [(found.location.override, found.message, found.help) for found in raised.value.diagnostics]


@pytest.mark.parametrize(
    ("override", "message", "advice"),
    [
        ("provider=", "takes one profile, or a list", "there are anthropic"),
        ("provider=null", "takes one profile, or a list", "there are anthropic"),
        ("provider={a:1}", "takes one profile, or a list", "there are anthropic"),
        ("provider=[openai,[embedded]]", "takes one profile, or a list", "there are anthropic"),
        ("routing=null", "takes the name of one of its files", "local_first"),
        ("+provider@providers.x=opena", "there is no provider 'opena'", "did you mean 'openai'?"),
        ("hydra/launcher=basi", "there is no hydra/launcher 'basi'", "did you mean 'basic'?"),
        ("hydra.jbo.name=1", "unknown key", "did you mean 'job'?"),
        ("hydra.foo=1", "unknown key", ""),
        ("~provider", "cannot be deleted", "provider=[a,b]"),
        ("~adaptr", "no such key to delete", "did you mean 'adapter'?"),
        ("~task.limit", "nothing to delete", ""),
        ("+routing=local_only", "chosen already", "write routing=local_only"),
        ("routing@foo=local_only", "nothing of that name was chosen", "write +routing@foo=local_only"),
        ("+seed=3", "there already", "write seed=3"),
        ("providers.embedded.tags.5=x", "no such position", "key=[a,b]"),
        ("hydra.mode=BOGUS", "expected one of", ""),
    ],
)
def test_one_mistake_is_told_with_its_fix(override, message, advice):
    [(place, said, helped)] = told(compose, override)
    assert place == override
    assert message in said
    assert advice in helped


def test_every_word_is_told_and_what_a_misread_choice_would_bring_is_not_judged():
    found = told(compose, "provider=opena", "task.limt=3", "sed=4", "providers.openai.endpoint=x")
    assert [place for place, _, _ in found] == ["provider=opena", "task.limt=3", "sed=4"]


def test_a_word_may_need_the_one_before_it():
    found = told(compose, "+providers.embedded.timeouts={}", "+providers.embedded.timeouts.idle_s=1", "sed=4")
    assert [place for place, _, _ in found] == ["sed=4"]


@pytest.mark.parametrize(
    ("words", "places"),
    [
        (["provider=lmstudio,opena", "routing=local_frist"], ["provider=lmstudio,opena", "routing=local_frist"]),
        (["task.limt=1,2", "sed=3"], ["task.limt=1,2", "sed=3"]),
        (["routing=glob(zz*)"], ["routing=glob(zz*)"]),
        (["seed=interval(0,1)"], ["seed=interval(0,1)"]),
        (["hydra/launcher=basi", "seed=1,2"], ["hydra/launcher=basi"]),
    ],
)
def test_a_sweep_is_told_word_for_word_too(words, places):
    assert [place for place, _, _ in told(jobs, *words)] == places


def test_an_option_that_looks_like_a_secret_is_shown_nowhere(findings):
    (finding,) = findings("provider=MySecretValue")
    assert "MySecretValue" not in str(finding)
    assert finding.message == "there is no provider '***'"
