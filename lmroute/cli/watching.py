"""``lmroute health --watch``: how the servers are, then a line for each change. Lines are only ever added."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.cli.statuses import announcement
from lmroute.errors import LmrouteError
from lmroute.health.announcing import Announcer
from lmroute.health.monitor import Monitor
from lmroute.health.schedule import FIRST_S
from lmroute.health.sharing import Shared
from lmroute.providers.probe import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmroute.health.status import Status
    from lmroute.model import Health, Profile

_LOOK_S = 0.05
_LONGEST_WAIT_S = 3600.0


def watch(profiles: Sequence[Profile], settings: Health, *, as_json: bool) -> int:
    """Tell, until whoever reads it has gone, or Ctrl-C.

    Raises:
        LmrouteError: there is nobody to watch.
    """
    if not profiles:
        raise LmrouteError("no provider is on, so there is nothing to watch\n  help: provider=lmstudio selects one")
    monitor = Monitor(profiles, settings, results=Shared() if settings.share else None)
    try:
        for status in _heard(monitor, settings):
            _say(status, as_json=as_json)
    except BrokenPipeError:
        # Python would complain about what is left to write when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        monitor.close()
    return 0


def _heard(monitor: Monitor, settings: Health) -> Iterator[Status]:
    """How each is, as soon as that is known, then the announcements."""
    changes: SimpleQueue[Status] = SimpleQueue()
    monitor.subscribe(changes.put, every_change=True)
    monitor.start()
    patience_s = Patience(total_s=settings.timeout_s, retries=settings.retries).longest_s
    first = _first(monitor, time.monotonic() + 2 * FIRST_S + patience_s)
    yield from first
    announcer = Announcer(first)
    while True:
        wait_s = min(announcer.next_at() - time.monotonic(), _LONGEST_WAIT_S)
        try:
            status = changes.get(timeout=max(0.0, wait_s))
        except Empty:
            yield from announcer.due(time.monotonic())
        else:
            if told := announcer.changed(status, time.monotonic()):
                yield told


def _first(monitor: Monitor, ends: float) -> list[Status]:
    while time.monotonic() < ends:
        if all(status.last_checked is not None or status.message for status in monitor.statuses().values()):
            break
        time.sleep(_LOOK_S)
    return list(monitor.statuses().values())


def _say(status: Status, *, as_json: bool) -> None:
    """A line, at once.

    Raises:
        BrokenPipeError: nobody reads it.
    """
    if as_json:
        line = json.dumps(status.as_data(), ensure_ascii=False)
    else:
        line = f"{datetime.now().astimezone():%H:%M:%S} {announcement(status)}"
    sys.stdout.write(redact.text(line) + "\n")
    sys.stdout.flush()
