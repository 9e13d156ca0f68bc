"""The one health probe: what the command line, the UI, the scheduler and the router know a provider's state from.

    result = probe(stack.providers["lmstudio"])
    result.state, result.message, result.fix, result.models
    results = probe_all(stack.providers.values())  # all at once, by id
    result = await aprobe(stack.providers["lmstudio"])

It asks for the list of models and nothing else, so it costs no tokens and loads nothing, unless it is told to chat. It
never raises for what a server or a network does: that is the result.
"""

from lmroute.providers.inventory import ListedModel, find
from lmroute.providers.probe.asking import enumerated, instead_of
from lmroute.providers.probe.faults import ErrorCode
from lmroute.providers.probe.probing import Patience, aprobe, probe, probe_all
from lmroute.providers.probe.result import ProbeResult
from lmroute.providers.probe.states import SERVING, Outcome, Phase, State

__all__ = [
    "SERVING",
    "ErrorCode",
    "ListedModel",
    "Outcome",
    "Patience",
    "Phase",
    "ProbeResult",
    "State",
    "aprobe",
    "enumerated",
    "find",
    "instead_of",
    "probe",
    "probe_all",
]
