"""The rows of what running servers say (``lmroute.health.live``)."""

from __future__ import annotations

from lmroute.diagnostics import Severity
from lmroute.validate.rule import Rule

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

ROWS = (
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
        "The model that answers takes fewer tokens than the profile promises: LM Studio, for one, loads models "
        "with a smaller window than they could have. Long requests would be sent there and refused. Load the model "
        "with a larger context, or write the real number. It is always a warning, because shorter requests are "
        "served.",
        of_server=True,
    ),
    Rule(
        "LMR505", _WARNING, "the server denies a declared capability",
        "The profile says that its models call tools, see images or reason, and the server says that this one does "
        "not. Requests that need it would be routed there. Choose another model, or set the capability to false. "
        "It is always a warning, because other requests are served.",
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
    Rule(
        "LMR508", _WARNING, "concurrency is more than the server does at once",
        "LM Studio answers so many requests of a model at once and lets the others wait, where neither routing nor "
        "a deadline of yours sees them. Lower `concurrency`, or load the model for more (`lms load --parallel`).",
        of_server=True,
    ),
    Rule(
        "LMR509", _WARNING, "a model is loaded more than once",
        "Each load of LM Studio's adds a copy with its own memory, under names that end in :2, :3 and so on; "
        "requests go to the first. It is meant seldom and costs gigabytes: unload the copies, or name them under "
        "`models`.",
        of_server=True,
    ),
    Rule(
        "LMR510", _WARNING, "a named model is not loaded",
        "Another model is loaded than the one that the profile names, or none. LM Studio loads it when the first "
        "request asks for it, which takes seconds to minutes, and unloads the one that it had loaded for a request "
        "before. Load it beforehand with `lmroute models load`, or write `models: [auto]` to take what is loaded.",
        of_server=True,
    ),
    Rule(
        "LMR511", _WARNING, "a server cannot load models when it is told to",
        "`load.mode: explicit` has lmroute load models over LM Studio's native API, which is there since 0.4.0. "
        "Update LM Studio, or leave loading to it with `load.mode: jit`.",
        of_server=True,
    ),
    Rule(
        "LMR512", _WARNING, "a server answers otherwise than LM Studio is known to",
        "Its list of models does not keep to the schemas in `schemas/lmstudio`: a release that lmroute does not "
        "know, or a program that imitates LM Studio. What is read from such a list may be wrong; please report it.",
        of_server=True,
    ),
    Rule(
        "LMR513", _WARNING, "a server does not tell what its models are",
        "Beside the list of names that every server has, the one of its own, which tells what is loaded, with "
        "which window, and what it can do, was refused, cut off or too slow. Calls are served, but nothing that "
        "the profile promises could be checked.",
        of_server=True,
    ),
)  # fmt: skip
