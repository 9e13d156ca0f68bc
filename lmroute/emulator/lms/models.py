"""The commands that change what is in memory or on disk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lmroute.emulator.lms import listing
from lmroute.emulator.lms.listing import release_of
from lmroute.emulator.lms.matching import matches
from lmroute.emulator.lms.talk import Told, agree, choose, say

if TYPE_CHECKING:
    import argparse

    from lmroute.emulator.control.remote import Remote

_PARALLEL = (0, 4, 0)
_LOOK_AGAIN_S = 0.1


def load(asked: argparse.Namespace, remote: Remote) -> int:
    """Load one more copy, whether or not there is one already."""
    state = remote.state()
    if asked.parallel is not None and release_of(state["profile"]) < _PARALLEL:
        raise Told(f"unknown option '--parallel' (the emulator imitates {state['profile']})")
    how = {
        "identifier": asked.identifier,
        "context_length": asked.context_length,
        "parallel": asked.parallel,
        "ttl_s": asked.ttl,
    }
    key = _meant(asked, listing.downloaded(state))
    after = remote.load(key, **{name: value for name, value in how.items() if value is not None})
    say(f"Loaded {key}. Its identifier is {after['instances'][-1]['id']}")
    return 0


def unload(asked: argparse.Namespace, remote: Remote) -> int:
    """Unload one copy or all of them. As with the real one, an identifier that is not there ends with exit code 0."""
    if asked.all and asked.identifier is not None:
        raise Told("give an identifier or --all, not both")
    there = [instance["id"] for instance in remote.state()["instances"]]
    if asked.identifier is not None and asked.identifier not in there:
        say(f"Error: no model with the identifier '{asked.identifier}' is loaded; `lms ps` lists them")
        return 0
    if not there:
        say("No model is loaded.")
        return 0
    for identifier in there if asked.all else [asked.identifier or choose("Which one to unload?", there)]:
        remote.unload(identifier)
        say(f"Unloaded {identifier}")
    return 0


def get(asked: argparse.Namespace, remote: Remote) -> int:
    """Download a model, and wait until it is there."""
    names = (name for model in remote.state()["models"] for name in (model["key"], *model.get("variants", ())))
    if asked.name.lower() in map(str.lower, names):
        say(f"{asked.name} is on disk already.")
        return 0
    if not asked.yes and not agree(f"Download {asked.name}?"):
        return 1
    job = remote.download(asked.name)["downloads"][-1]
    while job["status"] == "downloading":
        time.sleep(_LOOK_AGAIN_S)
        job = _job(remote.state(), job["job_id"])
    if job["status"] != "completed":
        raise Told(f"the download of {job['model']} ended at {job['downloaded_bytes']} bytes: it is {job['status']}")
    say(f"Downloaded {job['model']}")
    return 0


def _job(state: dict[str, Any], job_id: str) -> dict[str, Any]:
    """The download of that id.

    Raises:
        Told: when the emulator was reset meanwhile.
    """
    for job in state["downloads"]:
        if job["job_id"] == job_id:
            return dict(job)
    raise Told("the emulator has forgotten the download; it was reset")


def _meant(asked: argparse.Namespace, models: list[dict[str, Any]]) -> str:
    """The key of the model to load.

    Raises:
        Told: when there is none, and nobody to ask.
    """
    keys: list[str] = [model["modelKey"] for model in models]
    if asked.exact:
        found = [key for key, model in zip(keys, models, strict=True) if asked.key in {key, model["path"]}]
    else:
        found = matches(asked.key or "", keys)
    if found and (asked.yes or len(found) == 1):
        return found[0]
    if not found and (asked.yes or asked.exact):
        raise Told(f"no model on disk matches '{asked.key or ''}'; `lms ls` lists them")
    return choose("Which model to load?", found or keys)
