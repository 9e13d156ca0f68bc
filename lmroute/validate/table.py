"""Every rule of ``lmroute validate`` in one table.

A rule is a generator of diagnostics: of one file by itself, or of a composed configuration. What YAML, composing, the
schemas and running servers say has rows here too, so that each code has one severity and one explanation. Every row
but those of servers has examples in ``examples/<code>/{bad,good}``, which a test holds it to and ``lmroute explain``
prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from lmroute.diagnostics import Diagnostic, Severity
from lmroute.validate.rules import (
    contract,
    defaults,
    headers,
    literals,
    policies,
    providers,
    scalars,
    syntax,
    tasks,
    tokens,
    unread,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmroute.validate.context import Context
    from lmroute.validate.files import File

FileCheck: TypeAlias = "Callable[[File], Iterator[Diagnostic]]"
ConfigCheck: TypeAlias = "Callable[[Context], Iterator[Diagnostic]]"

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table.

    Attributes:
        summary: what is wrong, in a few words.
        why: what would happen if nobody said so, and how to mend it.
        severity: of what a running server says, the worst it can be: a rule may have another server that answers.
        of_file, of_config: the generators that say it; none where only composing, the reader of suppressions or a
            server does.
        of_server: a running server says it (``lmroute.health.live``).
    """

    code: str
    severity: Severity
    summary: str
    why: str
    of_file: tuple[FileCheck, ...] = ()
    of_config: tuple[ConfigCheck, ...] = ()
    of_server: bool = False


_ROWS = (
    Rule(
        "LMR001", _ERROR, "not valid YAML, or a key twice",
        "A file that cannot be read leaves out everything that stands in it. Of a key that stands twice, other YAML "
        "readers silently keep the last value.",
        of_file=(syntax.readable,),
    ),
    Rule(
        "LMR002", _ERROR, "a profile without its `# @package` header",
        "Hydra puts a file at the key that its first comment line names. Without `# @package providers.<name>` on line "
        "1, a profile lands under `provider`, where two of them mix into one: the second one keeps the first one's "
        "token. A comment above the header hides it.",
        of_file=(headers.placed,),
    ),
    Rule(
        "LMR003", _WARNING, "a value that YAML 1.1 and 1.2 read differently",
        "Hydra reads YAML 1.1, where `on` and `no` are booleans, 012 is 10 and 12:30 is 750. Editors and other "
        "checkers read 1.2, where they are not. Quotes say which is meant.",
        of_file=(scalars.ambiguous,),
    ),
    Rule(
        "LMR004", _WARNING, "a file that is never read",
        "Hydra reads `.yaml` files only, and where two folders have a file of one name, the shipped one. A file of "
        "your own under such a name changes nothing, and nobody says so.",
        of_file=(unread.never_read,),
    ),
    Rule(
        "LMR005", _ERROR, "a secret in the configuration",
        "Configuration is committed, printed and logged; Hydra alone writes what stands on a command line to four "
        "files. So a secret stands elsewhere and the configuration says where: {env: NAME}, {file: path}, "
        "{command: [op, read, …]} or {keyring: account}.",
        of_file=(contract.kept, literals.none),
    ),
    Rule(
        "LMR006", _WARNING, "a suppression that suppresses nothing",
        "`# lmroute: ignore[CODE]` with nothing to ignore hides the next mistake at that place.",
    ),
    Rule(
        "LMR101", _ERROR, "a required key or value is missing",
        "Without it there is nothing to run. `???` marks a value that must be given on the command line.",
        of_file=(contract.kept,),
        of_config=(tasks.inputs,),
    ),
    Rule(
        "LMR102", _ERROR, "an unknown key",
        "A misspelt key would be ignored, and the default used in its place.",
        of_file=(contract.kept,),
    ),
    Rule(
        "LMR103", _ERROR, "a bad value",
        "The value has the wrong type, is none of the known words, or is out of range.",
        of_file=(contract.kept,),
        of_config=(providers.endpoints, policies.ranges, tasks.inputs),
    ),
    Rule(
        "LMR201", _ERROR, "cannot be composed",
        "Hydra refuses the command line or a defaults list: an option, key or profile that is not there, or a word "
        "that its grammar reads otherwise.",
    ),
    Rule(
        "LMR202", _ERROR, "two chosen files write one thing",
        "Of two files for one profile, policy, task or adapter the keys are mixed: the second one wins, and what it "
        "does not say stays as the first one said it, a token included, which would be sent to the other server.",
        of_config=(providers.one_file_a_profile,),
    ),
    Rule(
        "LMR203", _ERROR, "an interpolation that leads nowhere",
        "`${key}` refers to a key that no chosen file has, to an environment variable that is not set, or to itself.",
    ),
    Rule(
        "LMR204", _ERROR, "a defaults list chooses what is not there",
        "Hydra stops at the first name in a `defaults` list that it does not find, so nothing that needs this file "
        "can be composed. In an experiment, groups begin with a slash: `override /provider: …`.",
        of_file=(defaults.there,),
    ),
    Rule(
        "LMR205", _WARNING, "an experiment that chooses beside, not instead",
        "Without `override`, a group in an experiment's `defaults` list is added to what config.yaml chooses: the "
        "providers of both take part, and data may go where the experiment was not meant to send it.",
        of_file=(defaults.instead,),
    ),
    Rule(
        "LMR301", _ERROR, "a rule names what is not there",
        "A rule that names a provider that is not selected, or a model that its provider does not list, never chooses "
        "it.",
        of_config=(policies.names,),
    ),
    Rule(
        "LMR302", _ERROR, "a policy that can never choose a provider",
        "No rule has a candidate among the selected and enabled providers, so every request would fail.",
        of_config=(policies.some_choice,),
    ),
    Rule(
        "LMR303", _ERROR, "a tag that no profile carries",
        "A selector with a misspelt tag selects nothing, and its rule falls to the next candidate without a word.",
        of_config=(policies.tags,),
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
        "LMR306", _ERROR, "two rules of one name",
        "Records and explanations name the rule that decided; with two of one name they say nothing.",
        of_config=(policies.names_of_rules,),
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
        "LMR401", _WARNING, "a secret that cannot be found",
        "The first call to this provider would be refused. A run stops on it before it begins; a check of files alone "
        "warns, for CI needs no keys.",
        of_config=(tokens.present,),
    ),
    Rule(
        "LMR501", _ERROR, "a server is down or cannot be reached",
        "Nobody answers at the provider's endpoint, or not within two seconds, in three tries; or the embedded "
        "model cannot be started on this machine. Start the server or correct the endpoint. It is an error when a "
        "rule has no other candidate that serves, else a warning.",
        of_server=True,
    ),
    Rule(
        "LMR502", _ERROR, "a token is missing or refused",
        "The secret that `auth_token` refers to is not there, or the server answers 401 or 403 to it. Export the "
        "variable, or make a new token; a server that wants none needs no `auth_token`. It is an error when a rule "
        "has no other candidate that serves, else a warning.",
        of_server=True,
    ),
    Rule(
        "LMR503", _ERROR, "a server does not offer a configured model",
        "A rule can choose the model, and the server does not list it. Load or download it there, correct the name "
        "under `models`, or write `auto` to take what is loaded. It is an error when a rule has no other candidate "
        "that serves, else a warning.",
        of_server=True,
    ),
    Rule(
        "LMR504", _WARNING, "context_window is larger than what the server gives",
        "The model that answers takes fewer tokens than the profile promises: LM Studio, for one, loads models with"
        " a smaller window than they could have. Long requests would be sent there and refused. Load the model with"
        " a larger context, or write the real number. It is always a warning, because shorter requests are served.",
        of_server=True,
    ),
    Rule(
        "LMR505", _WARNING, "the server denies a declared capability",
        "The profile says that its models call tools or see images, and the server says that this one does not. "
        "Requests that need it would be routed there. Choose another model, or set the capability to false. It is "
        "always a warning, because other requests are served.",
        of_server=True,
    ),
    Rule(
        "LMR506", _ERROR, "a server is not what its profile says",
        "Something answers at the endpoint that is no LLM server of this type: a web page, a redirect, another "
        "path, another protocol; or it lies further away than `locality` allows and was not dialled. Waiting does "
        "not help; correct the profile. It is an error when a rule has no other candidate that serves, else a "
        "warning.",
        of_server=True,
    ),
    Rule(
        "LMR507", _ERROR, "a server is throttled or degraded",
        "The server turns requests away because there were too many, or it has a handicap: its model is still "
        "loading, or the embedded model's weights have yet to be fetched. A throttled one is an error when a rule "
        "has no other candidate that serves; everything else is a warning.",
        of_server=True,
    ),
)  # fmt: skip

RULES: dict[str, Rule] = {rule.code: rule for rule in _ROWS}
"""The rules by code, in the order of their numbers."""

FILE_CHECKS: tuple[FileCheck, ...] = tuple(dict.fromkeys(chain.from_iterable(rule.of_file for rule in _ROWS)))
CONFIG_CHECKS: tuple[ConfigCheck, ...] = tuple(dict.fromkeys(chain.from_iterable(rule.of_config for rule in _ROWS)))
