"""The rows of what does not fit together in a configuration that keeps to the schemas."""

from __future__ import annotations

from lmroute.diagnostics import Severity
from lmroute.validate.rule import Rule
from lmroute.validate.rules import (
    attributes,
    certainty,
    effects,
    fallbacks,
    names,
    policies,
    predicates,
    providers,
    references,
    tokens,
    vocabulary,
)

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

ROWS = (
    Rule(
        "LMR301", _ERROR, "a policy names what is not there",
        "A rule that names a provider that is not selected, or a model that its provider does not list, never chooses "
        "it. A `fallback` to a rule that is not there falls nowhere, and a guarantee about a provider that does not "
        "exist guards nobody.",
        of_file=(fallbacks.dangling,),
        of_config=(fallbacks.dangling, references.names),
    ),
    Rule(
        "LMR302", _ERROR, "a policy that can never choose a provider",
        "No rule has a candidate among the selected and enabled providers, so every request would fail.",
        of_config=(policies.some_choice,),
    ),
    Rule(
        "LMR303", _ERROR, "a tag that no profile carries",
        "A selector with a misspelt tag selects nothing, and its rule falls to the next candidate without a word. A "
        "guarantee with one guards nobody, and a budget counts nobody's calls.",
        of_config=(references.tags,),
    ),
    Rule(
        "LMR304", _WARNING, "a selected provider that no rule can choose",
        "It takes part in nothing. Either the policy forgot it or the selection has one too many.",
        of_config=(policies.reachable,),
    ),
    Rule(
        "LMR305", _ERROR, "no provider is selected",
        "Somebody has to answer.",
        of_config=(providers.some_provider,),
    ),
    Rule(
        "LMR306", _ERROR, "two rules, guarantees or budgets of one name",
        "Records and explanations name the rule that decided, and refusals the guarantee or budget; with two of one "
        "name they say nothing. `default` and `caller_choice` are what records call the policy's own default and what "
        "a caller chose itself.",
        of_file=(names.unique,),
        of_config=(names.unique,),
    ),
    Rule(
        "LMR307", _ERROR, "a profile under another name than its id",
        "Policies and records know a provider by its key under `providers`; an id that says something else would be "
        "looked for in vain.",
        of_config=(providers.identities,),
    ),
    Rule(
        "LMR308", _ERROR, "a locality that cannot be true",
        "Policies keep private work on this machine by a profile's `locality`. One that says `loopback` with an "
        "address elsewhere would send it away.",
        of_config=(providers.localities,),
    ),
    Rule(
        "LMR309", _WARNING, "a candidate twice in one rule",
        "A candidate is tried once for a request; the second one has no effect.",
        of_config=(policies.repeats,),
    ),
    Rule(
        "LMR310", _ERROR, "an attribute that cannot be",
        "A policy's own attribute has a name that no other one has, a type, and with it the words or the numbers that "
        "it may be; its default is one of them. Of `task` and `tags`, which every request has, a policy can list the "
        "words. Without a domain nobody could say what a rule covers.",
        of_file=(attributes.declared,),
        of_config=(attributes.declared,),
    ),
    Rule(
        "LMR311", _ERROR, "a predicate that no request could answer",
        "A rule or guarantee that asks for a misspelt attribute, or for a word that this one never is, would hold for "
        "nobody, and the requests that it was meant for would go elsewhere without a word. Each type has its own "
        "operators: a number is compared, a set contains, a text matches. A pattern that takes for ever on some texts "
        "would stop everything.",
        of_file=(predicates.answerable,),
        of_config=(predicates.answerable,),
    ),
    Rule(
        "LMR312", _ERROR, "fallbacks that go in a circle",
        "The candidates of a rule's `fallback` come after its own, those of that rule's fallback after them, and so "
        "on: a chain has to end.",
        of_file=(fallbacks.circular,),
        of_config=(fallbacks.circular,),
    ),
    Rule(
        "LMR313", _ERROR, "a task with words that its policy does not know",
        "A policy that reads tags knows them: those under `attributes.tags.values`, else those that its predicates "
        "ask for. A request with another one is refused, for it may be a misspelt `private`. So is a task's name when "
        "`attributes.task.values` lists the names.",
        of_config=(vocabulary.known,),
    ),
    Rule(
        "LMR314", _WARNING, "a setting of a policy that changes nothing",
        "A budget in dollars counts by the prices of the profiles, so what has no price is never counted, let alone "
        "stopped. `weights` are read by `order: weighted` and by nothing else; without them it gives everybody the "
        "same share.",
        of_file=(effects.shares,),
        of_config=(effects.shares, effects.budgets),
    ),
    Rule(
        "LMR315", _WARNING, "a guarantee that rests on a name",
        "DSPy does not tell the signature of every call: one that is derived, loaded or made on the fly may have none, "
        "and so may a module or predictor. A rule may miss such a request and no harm is done. A guarantee would not "
        "be about it, and what it was meant to keep would go out.",
        of_file=(certainty.names,),
        of_config=(certainty.names,),
    ),
    Rule(
        "LMR401", _WARNING, "a secret that cannot be found",
        "The first call to this provider would be refused. A run stops on it before it begins; a check of files alone "
        "warns, for CI needs no keys.",
        of_config=(tokens.present,),
    ),
)  # fmt: skip
