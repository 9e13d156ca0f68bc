"""What `lmroute validate` costs from a cold start, beside what importing Hydra alone costs.

    python benchmarks/validate.py [--runs 7]

Each run is a process of its own; the commands take turns, so that a busy machine is unfair to none. Timings depend on
the machine; the ratios are what to look at.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

HYDRA = "import hydra"
COMMANDS = {
    HYDRA: ["-c", HYDRA],
    "validate": ["-m", "lmroute.cli", "validate"],
    "validate --files-only": ["-m", "lmroute.cli", "validate", "--files-only"],
    "validate provider=vllm": ["-m", "lmroute.cli", "validate", "provider=vllm"],
}
UNWANTED = {"dspy", "litellm", "httpx"}
_MODULES = """
import sys
from lmroute.cli import main
code = main(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


def run(*words: str, home: str) -> subprocess.CompletedProcess[str]:
    """One cold run, with nobody's own configuration."""
    environment = {**os.environ, "LMROUTE_CONFIG_HOME": home}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, encoding="utf-8", check=True)


def measure(runs: int, home: str) -> dict[str, list[float]]:
    """Seconds of each run by command. The first round fills the caches of the disk and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, words in COMMANDS.items():
            began = time.perf_counter()
            run(*words, home=home)
            times[name].append(time.perf_counter() - began)
    return {name: seconds[1:] for name, seconds in times.items()}


def show(times: dict[str, list[float]]) -> None:
    """Medians, minima, and how often each is the time of importing Hydra."""
    base = statistics.median(times[HYDRA])
    print(f"{'':<26}{'p50 s':>8}{'min s':>8}{'ratio':>8}")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:<26}{median:>8.2f}{min(seconds):>8.2f}{median / base:>8.2f}")


def imported(home: str) -> None:
    """Which of the heavy libraries each command imports."""
    for name, words in COMMANDS.items():
        if name != HYDRA:
            done = run("-c", _MODULES, *words[2:], home=home)
            heavy = sorted(UNWANTED & set(done.stderr.split()))
            print(f"{name} imports {', '.join(heavy) or 'none'} of {', '.join(sorted(UNWANTED))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="runs of each command (default 7)")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    with tempfile.TemporaryDirectory() as home:
        show(measure(options.runs, home))
        imported(home)


if __name__ == "__main__":
    main()
