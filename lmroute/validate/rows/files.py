"""The rows of what files, the schemas and composing say."""

from __future__ import annotations

from lmroute.diagnostics import Severity
from lmroute.validate.rule import Rule
from lmroute.validate.rules import (
    contract,
    defaults,
    headers,
    literals,
    predicates,
    providers,
    scalars,
    syntax,
    tasks,
    unread,
)

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

ROWS = (
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
        of_file=(contract.kept, predicates.ranges),
        of_config=(providers.endpoints, predicates.ranges, tasks.inputs),
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
)  # fmt: skip
