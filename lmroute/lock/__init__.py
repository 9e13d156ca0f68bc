"""``lmroute.lock.json``: what each server was found to be, written down so that a change of it is noticed.

    reading = read(place())                        # the file, and what is wrong with it
    write(place(), dump(renewed(reading.lock, found)))
    for difference in differences("lmstudio", locked, found): print(difference)
    for effect in effects(stack, locked, found): print(effect)

LM Studio has no version to ask for, so this file is what pins one: commit it. Nothing here asks a server;
``lmroute.health.locking`` does, and ``lmroute validate`` reads the file without one.
"""

from lmroute.lock.differences import Difference, Weight, differences
from lmroute.lock.document import Instance, Kind, Lock, LockedModel, LockedProvider, address
from lmroute.lock.effects import Effect, effects
from lmroute.lock.file import FILE, Reading, place, read
from lmroute.lock.text import dump, parsed, renewed

__all__ = [
    "FILE",
    "Difference",
    "Effect",
    "Instance",
    "Kind",
    "Lock",
    "LockedModel",
    "LockedProvider",
    "Reading",
    "Weight",
    "address",
    "differences",
    "dump",
    "effects",
    "parsed",
    "place",
    "read",
    "renewed",
]
