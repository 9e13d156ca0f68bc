"""The state of one emulator as JSON data: for its page, for ``lms``, for tests."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lmroute.emulator.machine.clock import ManualClock, wall_s
from lmroute.emulator.model_lists import v1_list

if TYPE_CHECKING:
    from lmroute.emulator.house import House
    from lmroute.emulator.machine.instances import Instance


def snapshot(house: House) -> dict[str, Any]:
    """What is true now.

    Of each instance: ``queued`` counts the requests that use it or wait for it, ``status`` is one of ``lms ps``,
    ``last_used_ms`` is since 1970. ``waiting`` counts what waits for a manual clock. Times in seconds otherwise.
    """
    settings, state = house.settings, house.state
    clock = state.clock
    return {
        "pid": os.getpid(),
        "profile": settings.version.name,
        "engine": settings.engine.value,
        "jit": settings.jit,
        "require_auth": settings.require_auth,
        "clock": settings.clock,
        "waiting": clock.waiting if isinstance(clock, ManualClock) else 0,
        "models": v1_list(state, settings.version)["models"],
        "instances": [_instance(instance) for instance in state.instances],
        "loading": list(state.loading),
        "downloads": [
            {
                "job_id": job.id,
                "model": job.model.key,
                "status": job.status,
                "downloaded_bytes": job.done_bytes(clock()),
            }
            for job in state.downloads.jobs.values()
        ],
        "faults": asdict(state.faults),
        "requests_total": house.journal.total,
        "requests": [asdict(seen) for seen in house.journal],
    }


def _instance(instance: Instance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "model": instance.model.key,
        "type": instance.model.kind.value,
        "context_length": instance.context_length,
        "parallel": instance.parallel,
        "jit": instance.jit,
        "ttl_s": instance.ttl_s,
        "remaining_ttl_s": instance.remaining_s(),
        "last_used_ms": int(wall_s(instance.last_used) * 1000),
        "status": instance.status,
        "queued": instance.busy,
    }
