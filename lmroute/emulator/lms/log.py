"""The server's log: a record for every request that the emulator gets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lmroute.emulator.control.remote import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmroute.emulator.control.remote import Remote

_LOOK_AGAIN_S = 0.1


def records(remote: Remote, sleep: Callable[[float], None] = time.sleep) -> Iterator[dict[str, Any]]:
    """A record for every request from now on, until the emulator stops.

    The emulator is asked ten times a second, and a record has the time at which it was found. Of more than fifty
    requests between two looks, only the last fifty are there.
    """
    try:
        known = remote.state()["requests_total"]
        while True:
            sleep(_LOOK_AGAIN_S)
            state = remote.state()
            total = state["requests_total"]
            fresh = total - (known if known <= total else 0)  # less than before: it was reset
            known = total
            for seen in state["requests"][-fresh:] if fresh else ():
                yield _record(f"Received request: {seen['method']} to {seen['path']}", time.time())
    except Stopped:
        return


def _record(text: str, now: float) -> dict[str, Any]:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    data = {"type": "server.log", "content": f"[{moment}][DEBUG] {text}", "level": "debug"}
    return {"timestamp": int(now * 1000), "data": data}
