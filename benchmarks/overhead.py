"""What a routed call costs beside its peers, measured in turns in one run against one stub on loopback.

    python benchmarks/overhead.py [--calls 400]

Timings depend on the machine; the ratios are what to look at. "routed" writes its call records to a file, and a thread
beside it watches the servers, as by default (health=watch); "not watched" is without that thread (health=off).
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import dspy

import lmroute
from lmroute import validate
from lmroute.engine.routing_engine import RoutingEngine
from lmroute.telemetry.sinks.sink import JsonlSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Calls = dict[str, Callable[[], Any]]
    Rounds = dict[str, list[list["Cost"]]]
    """What each call cost, by contender and round."""

CHILD, ROUTED = "dspy.LM(engine=<the child>)", "routed, records included"
UNWATCHED, UNRECORDED = "routed, not watched", "routed, no records"
NATIVE, ROUTER = "dspy.LM native", "litellm.Router"

BLOCK = 10
WARM_UP = 3
PROMPT = "Is the sentiment of this text positive or negative? " * 10


class Cost(NamedTuple):
    """What one call took, in microseconds.

    Attributes:
        wall: by the clock on the wall, with all that the machine did meanwhile.
        cpu: of its thread's own work, which other programs disturb less. Too coarse on Windows to say anything.
    """

    wall: float
    cpu: float


@contextmanager
def stub() -> Iterator[str]:
    """The stub server in a process of its own."""
    script = Path(__file__).with_name("stub.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        assert server.stdin is not None
        server.stdin.close()


def contenders(url: str, folder: Path) -> Calls:
    """The calls to compare, by name."""
    server = [f"providers.vllm.endpoint={url}", "providers.vllm.models=[stub]"]
    words = ["provider=vllm", "telemetry=off", *server]  # records go to files of their own instead
    stack = validate.load([*words, "health=watch", "health.share=false"])
    routed = lmroute.build(stack, sink=JsonlSink(folder / "calls.jsonl"), cache=False)
    unwatched = validate.load([*words, "health=off"])
    children = routed.engine.children
    options: dict[str, Any] = {"num_retries": 0, "cache": False}
    lms = {
        CHILD: dspy.LM("stub", engine=children["vllm"], **options),
        ROUTED: routed,
        UNWATCHED: lmroute.build(unwatched, sink=JsonlSink(folder / "unwatched.jsonl"), cache=False),
        UNRECORDED: dspy.LM(routed.model, engine=RoutingEngine(stack, children), **options),
        NATIVE: dspy.LM("openai/stub", api_base=f"{url}/v1", api_key="none", **options),
    }
    return {**{name: _asking(lm) for name, lm in lms.items()}, ROUTER: _litellm(url)}


def _asking(lm: Any) -> Callable[[], Any]:
    return lambda: lm(PROMPT)


def _litellm(url: str) -> Callable[[], Any]:
    from litellm import Router

    # Two deployments, as its users have; the router takes the dictionaries apart, so each is its own.
    params = ({"model": "openai/stub", "api_base": f"{url}/v1", "api_key": "none"} for _ in range(2))
    router = Router(model_list=[{"model_name": "stub", "litellm_params": p} for p in params], num_retries=0)
    message = [{"role": "user", "content": PROMPT}]
    return lambda: router.completion(model="stub", messages=message)


def measure(calls: Calls, count: int) -> Rounds:
    """Time at least ``count`` calls of each contender, in rounds.

    In every round each has one block of calls, in an order that the next round reverses: neighbours in a round can be
    compared whatever the machine did meanwhile, and who comes after whom favours none. In a block a contender has the
    CPU's caches to itself, as it has in a program that uses nothing else.
    """
    times: Rounds = {name: [] for name in calls}
    order = list(calls)
    gc.collect()
    gc.freeze()  # the imports are nobody's garbage, and going through them would take longer than any call
    for _ in range(-(-count // BLOCK)):
        for name in order:
            times[name].append(_block(calls[name]))
        order.reverse()
    return times


def _block(call: Callable[[], Any]) -> list[Cost]:
    """A contender's calls, which begin with nothing to collect and pay for what they leave."""
    gc.collect()
    for _ in range(WARM_UP):
        call()
    return [_timed(call) for _ in range(BLOCK)]


def _timed(call: Callable[[], Any]) -> Cost:
    worked, began = time.thread_time(), time.perf_counter()
    call()
    ended, done = time.perf_counter(), time.thread_time()
    return Cost((ended - began) * 1e6, (done - worked) * 1e6)


def _median(block: list[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*block, strict=True)))


def added(times: Rounds, name: str) -> list[Cost]:
    """What a call of ``name`` takes more than one of the child, in each round."""
    pairs = [(_median(more), _median(less)) for more, less in zip(times[name], times[CHILD], strict=True)]
    return [Cost(more.wall - less.wall, more.cpu - less.cpu) for more, less in pairs]


def show(times: Rounds) -> None:
    """Medians, what routing adds and where it goes, and the ratios."""
    flat = {name: [cost.wall for block in blocks for cost in block] for name, blocks in times.items()}
    medians = {name: statistics.median(values) for name, values in flat.items()}
    print(f"{'':<30}{'p50 us':>9}{'p99 us':>9}")
    for name, values in flat.items():
        print(f"{name:<30}{medians[name]:>9.0f}{statistics.quantiles(values, n=100)[98]:>9.0f}")
    rounds = added(times, ROUTED)
    whole, bare, unwatched = (_median(added(times, name)) for name in (ROUTED, UNRECORDED, UNWATCHED))
    low, _, high = statistics.quantiles([cost.wall for cost in rounds])
    print(f"\nrouting adds {whole.wall:.0f} us to a call of its child")
    print(f"  half of the {len(rounds)} rounds say {low:.0f} to {high:.0f} us; by CPU time it is {whole.cpu:.0f} us,")
    print(f"  of which {bare.cpu:.0f} us decide and trace, {whole.cpu - bare.cpu:.0f} us make and write the records")
    print(f"it would add {unwatched.wall:.0f} us, {unwatched.cpu:.0f} us by CPU time, if nobody watched the servers")
    routed, native, router = medians[ROUTED], medians[NATIVE], medians[ROUTER]
    print(f"routed is {routed / native:.2f}x of dspy.LM native and {routed / router:.2f}x of litellm.Router")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=400, help="calls of each contender (default 400)")
    options = parser.parse_args()
    if options.calls < 2 * BLOCK:
        parser.error(f"--calls must be at least {2 * BLOCK}: one round has no spread")
    with stub() as url, tempfile.TemporaryDirectory() as folder:
        show(measure(contenders(url, Path(folder)), options.calls))


if __name__ == "__main__":
    main()
