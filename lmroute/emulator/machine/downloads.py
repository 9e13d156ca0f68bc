"""Models on their way to the disk."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from lmroute.emulator.catalog import Model
    from lmroute.emulator.faults import Faults
    from lmroute.emulator.machine.clock import Clock

Status: TypeAlias = Literal["downloading", "paused", "completed", "failed"]


@dataclass(slots=True, eq=False)
class Job:
    """One download.

    Attributes:
        started: when it began, on the emulator's clock.
        ended: when it stopped for whatever reason; ``None`` while it goes on.
        goal: bytes at which it stops: the model's size, or half of it when it is to go wrong.
    """

    model: Model
    started: float
    goal: int
    bytes_per_s: int
    status: Status = "downloading"
    ended: float | None = None
    id: str = field(default_factory=lambda: f"job_{secrets.token_hex(5)}")

    def done_bytes(self, now: float) -> int:
        """Bytes that have come until ``now``."""
        return self.goal if self.ended is not None else min(self.goal, int((now - self.started) * self.bytes_per_s))


class Downloads:
    """The downloads of one emulator; what has come completely is added to ``on_disk``."""

    def __init__(self, clock: Clock, on_disk: list[Model], bytes_per_s: int) -> None:
        self.jobs: dict[str, Job] = {}
        self._clock = clock
        self._on_disk = on_disk
        self._bytes_per_s = bytes_per_s
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, model: Model, faults: Faults) -> Job:
        """Download ``model``; when that is under way already, its job."""
        for job in self.jobs.values():
            if job.model == model and job.status in {"downloading", "paused"}:
                return job
        goal = model.size_bytes // 2 if faults.download else model.size_bytes
        job = Job(model, self._clock(), goal, self._bytes_per_s)
        self.jobs[job.id] = job
        task = asyncio.get_running_loop().create_task(self._fetch(job, _end(faults)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def stop(self) -> None:
        """Forget every download."""
        for task in self._tasks:
            task.cancel()
        self.jobs.clear()

    async def _fetch(self, job: Job, end: Status) -> None:
        await self._clock.sleep(job.goal / job.bytes_per_s)
        job.status, job.ended = end, self._clock()
        if end == "completed":
            self._on_disk.append(job.model)


def _end(faults: Faults) -> Status:
    if faults.download == "paused":
        return "paused"
    return "failed" if faults.download == "failed" else "completed"
