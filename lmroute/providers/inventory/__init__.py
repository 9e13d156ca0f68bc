"""What a server has: its models, which of them are loaded and how, and what each can do.

    with opened(profile, base_url(profile), listing, token, total_s=2) as line:
        inventory, reply = take(line)

The probe, the engine, ``lmroute models`` and ``lmroute lock`` all read servers through this room. A kind of server that
can tell more than its dialect's list has a module of its own here, and a row in ``taking.NATIVE``.
"""

from lmroute.providers.inventory.finding import find, is_answer, no_chat, not_offered, passed_on
from lmroute.providers.inventory.line import Line, opened
from lmroute.providers.inventory.listing import LISTINGS, PUBLIC, Listing
from lmroute.providers.inventory.models import NOTHING, Api, Inventory, ListedModel
from lmroute.providers.inventory.signs import SIGNS, looks_like
from lmroute.providers.inventory.taking import NATIVE, take

__all__ = [
    "LISTINGS",
    "NATIVE",
    "NOTHING",
    "PUBLIC",
    "SIGNS",
    "Api",
    "Inventory",
    "Line",
    "ListedModel",
    "Listing",
    "find",
    "is_answer",
    "looks_like",
    "no_chat",
    "not_offered",
    "opened",
    "passed_on",
    "take",
]
