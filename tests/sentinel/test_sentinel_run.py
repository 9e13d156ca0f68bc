"""``run.py`` and the library where nobody catches: Hydra's files, logs, sweeps and crashes show no key."""

import logging
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton

from lmroute.experiments.main import main

from .gossip import ERRORS
from .house import KEYS

ROOT = Path(__file__).parents[2]
ALL = "provider=[by_env,by_file,by_command,by_keyring]"
ASK = ("task=ask", "question=why", "health=off")
LOUD = ("hydra/job_logging=lmroute_json", "hydra.verbose=true")

RUNS = {
    "all": (ALL, *ASK),
    "loud": (ALL, *ASK, *LOUD),
    "for people": (ALL, *ASK, "hydra/job_logging=lmroute", "hydra.verbose=true"),
    "watched": (ALL, "task=ask", "question=why", "telemetry.capture_content=true"),
    "a sweep": ("-m", "provider=by_env,by_file", "task=ask", "question=why", "health=off"),
    "the job": (ALL, *ASK, "--cfg", "job"),
    "all of it": (ALL, *ASK, "--cfg", "all"),
    "resolved": (ALL, *ASK, "--cfg", "job", "--resolve"),
    "info": (ALL, *ASK, "--info", "all"),
    "help": ("--help",),
    "a token": ("provider=[by_env]", *ASK, f"providers.by_env.auth_token={KEYS['command']}"),
    "a token, shown": ("provider=[by_env]", *ASK, f"providers.by_env.auth_token={KEYS['command']}", "--cfg", "all"),
    "a key in a sweep": ("-m", "provider=[by_env]", f"providers.by_env.auth_token={KEYS['env']},{KEYS['command']}"),
    "a variable": ("provider=[by_env]", *ASK, "providers.by_env.auth_token=${oc.env:LMROUTE_SENTINEL}"),
    "a variable, shown": (
        "provider=[by_env]",
        *ASK,
        "+providers.by_env.api_key=${oc.env:LMROUTE_SENTINEL}",
        "--cfg",
        "all",
        "--resolve",
    ),
    "a question with a key": ("provider=[by_env]", "task=ask", f"question='is {KEYS['env']} good'", "health=off"),
    "a sweep of questions": ("-m", "provider=[by_env]", "task=ask", f"question='{KEYS['env']}',b", "health=off"),
    "a folder with a key": ("provider=[by_env]", *ASK, f"hydra.run.dir=outputs/{KEYS['env']}"),
    "a note with a key": ("provider=[by_env]", *ASK, f"+note={KEYS['env']}"),
}


@pytest.fixture
def run(house, capfd):
    """Run it in this process, with nothing left of what Hydra does to it."""

    def start(*words):
        before, kept = Singleton.get_state(), (logging.root.handlers[:], logging.root.level)
        try:
            main(words)
        except SystemExit as end:
            code = end.code
        finally:
            Singleton.set_state(before)
            GlobalHydra.instance().clear()
            for handler in set(logging.root.handlers) - set(kept[0]):
                handler.close()
            logging.root.handlers[:] = kept[0]
            logging.root.setLevel(kept[1])
        streams = capfd.readouterr()
        return code, {"stdout": streams.out, "stderr": streams.err}

    return start


@pytest.mark.slow
@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
def test_runs(run, house, words):
    _, told = run(*words)
    assert told["stdout"] or told["stderr"]
    house.search(told)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["loud", "for people", "watched", "a sweep"])
def test_runs_that_fail(run, house, gossip, name):
    gossip.says = ERRORS["OpenAI's 401"]
    _, told = run(*RUNS[name])
    assert told["stdout"] or told["stderr"]
    house.search(told)
