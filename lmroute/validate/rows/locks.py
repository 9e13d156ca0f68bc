"""The rows of what does not agree with ``lmroute.lock.json``, which ``lmroute lock`` writes."""

from __future__ import annotations

from lmroute.diagnostics import Severity
from lmroute.validate.rule import Rule
from lmroute.validate.rules import locks

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

ROWS = (
    Rule(
        "LMR330", _ERROR, "a lock file that cannot be read",
        "`lmroute.lock.json` says what each server was found to be, and here it says nothing: a merge left its marks in"
        " it, or somebody edited it. Nobody would notice that a server changed. Make it anew with `lmroute lock "
        "--fresh`; a lock that is not wanted is deleted.",
        of_config=(locks.readable,),
    ),
    Rule(
        "LMR331", _ERROR, "a lock file of a newer lmroute",
        "Its format has keys that this version does not know, so that it cannot tell what they forbid. Update lmroute, "
        "here or in CI, or make the lock anew with the version that everybody has.",
        of_config=(locks.readable,),
    ),
    Rule(
        "LMR332", _WARNING, "a profile of another server than was locked",
        "The profile has another type or endpoint than when its server was asked, so what is locked says nothing about "
        "it and is not compared. Ask the new server: `lmroute lock`. Where the address differs between machines, that "
        "is no mistake.",
        of_config=(locks.same_server,),
    ),
    Rule(
        "LMR333", _ERROR, "a model that the server did not have when it was locked",
        "Calls would be refused, or answered by another model: LM Studio does that without a word. The same holds of a "
        "model that is there and embeds, and so answers no chat. Correct the name; or if the model was downloaded "
        "since, lock again: `lmroute lock`.",
        of_config=(locks.models,),
    ),
    Rule(
        "LMR334", _WARNING, "context_window is larger than what was locked",
        "When the server was asked, the model that answers took fewer tokens than the profile promises. Long requests "
        "would be sent there and refused. Write the smaller number, or load the model with a larger context and lock "
        "again. It is a warning, because shorter requests are served.",
        of_config=(locks.windows,),
    ),
    Rule(
        "LMR335", _WARNING, "a declared capability that the lock denies",
        "The profile says that its models call tools or see images, and the server said that this one does not. "
        "Requests that need it would be routed there. Choose another model, or set the capability to false; if the "
        "server has changed, lock again. It is a warning, because other requests are served.",
        of_config=(locks.capabilities,),
    ),
)  # fmt: skip
