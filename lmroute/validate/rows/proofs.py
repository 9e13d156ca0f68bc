"""The rows of what a policy is proved to do. Each finding names the smallest request that shows it."""

from __future__ import annotations

from lmroute.diagnostics import Severity
from lmroute.validate.rule import Rule
from lmroute.validate.rules import proofs

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

ROWS = (
    Rule(
        "LMR320", _ERROR, "a condition that no request can meet",
        "More than 9000 and less than 8000, two values at once: a rule with such a condition never decides, and a "
        "guarantee with one guards nobody.",
        of_config=(proofs.shown,),
    ),
    Rule(
        "LMR321", _ERROR, "a rule behind another one",
        "The first rule whose `when` holds decides. An earlier rule that holds for all of a rule's requests takes them "
        "all, and what the later one was meant to do never happens.",
        of_config=(proofs.shown,),
    ),
    Rule(
        "LMR322", _ERROR, "a rule behind several others together",
        "None of the earlier rules takes all of its requests, but together they do. No test of one rule shows that; "
        "the proof names the fewest rules that do it.",
        of_config=(proofs.shown,),
    ),
    Rule(
        "LMR323", _WARNING, "requests that no rule is for",
        "Such a request is refused, which may be meant: `default: []` says so. Otherwise name who serves it.",
        of_config=(proofs.shown,),
    ),
    Rule(
        "LMR324", _ERROR, "a guarantee that the rules do not keep",
        "By some rule, its fallbacks, the default or the choice of a caller, a request gets to a provider that the "
        "guarantee forbids. At run time it is stopped there, and is not answered; the policy should not have sent it.",
        of_config=(proofs.shown,),
    ),
    Rule(
        "LMR325", _WARNING, "private work may reach the cloud, and no guarantee speaks of it",
        "A request that says privacy=private is sent to a cloud provider. A guarantee says what private means here; "
        "then it is proved, and enforced at every call.",
        of_config=(proofs.shown,),
    ),
    Rule(
        "LMR326", _WARNING, "requests that nobody of their rule can serve, though somebody else could",
        "They need tools, images or a longer context than the rule's candidates have, and another selected provider "
        "has it. They are refused all the same, for the first rule that holds decides.",
        of_config=(proofs.shown,),
    ),
    Rule(
        "LMR327", _WARNING, "a candidate that can serve none of its rule's requests",
        "The rule is for requests that need something that this provider does not have, so it is passed over every "
        "time.",
        of_config=(proofs.shown,),
    ),
    Rule(
        "LMR329", _WARNING, "a guarantee that could not be proved",
        "Whether the rules keep it depends on whether some text matches one pattern and not another. That is not "
        "decided for regular expressions: each is taken as a fact of its own, and no text was found that shows it. The "
        "guarantee is enforced at every call all the same.",
        of_config=(proofs.shown,),
    ),
    Rule(
        "LMR328", _ERROR, "a condition too complex to be proved",
        "Choices between tests that all have to hold multiply: a dozen of two each are four thousand cases. Whoever "
        "cannot say what such a policy does had better not trust it either.",
        of_config=(proofs.shown,),
    ),
)  # fmt: skip
