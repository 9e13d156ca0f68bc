"""The compatibility suite: LM Studio's contract (L01 to L24), asked over HTTP.

    pytest tests/compat                                              # lmroute's emulator, every release it imitates
    pytest tests/compat --endpoint http://127.0.0.1:1234             # a real server: only what reads
    pytest tests/compat --endpoint … --allow generate,load           # … and what answers, or loads models

A test sees a server and nothing of lmroute's code. ``@pytest.mark.level("v1")`` says which model list it must have,
``needs("generate")`` what must be allowed, ``stage("two")`` what must be loaded there; an emulator is started so.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from lmroute.emulator.backends.script import Line
from lmroute.emulator.catalog import SCRIPTED
from lmroute.emulator.machine.instances import LoadConfig
from lmroute.emulator.running import running
from lmroute.emulator.settings import Loaded, Settings, Token
from lmroute.emulator.versions import API_TOKENS, PROFILES
from lmroute.model import Secret

from .endpoint import Endpoint
from .options import MEANING, allowed, endpoint_of, token_of
from .table import BARRED, Table

TOKEN = "sk-lm-Abcdefg1:Abcdefghij0123456789"
RECITATION = Line(re.compile("recite"), "tick " * 3000)
TERN, HERON = SCRIPTED[0].key, SCRIPTED[1].key
STAGES = {
    "usual": {},
    "one": {},
    "empty": {"loaded": (), "jit": False},
    "two": {"loaded": (Loaded(TERN), Loaded(HERON))},
    "named": {"loaded": (Loaded(TERN, "my-Tern"),)},
    "guarded": {"require_auth": True, "tokens": (Token(Secret(TOKEN)),)},
    "tiny": {"load_config": LoadConfig(context_length=96)},
    "clock": {"loaded": (), "clock": "manual", "load_seconds": 5.0},
    "split": {"split": 3},
}


NOBODYS = (lambda _: False, "needs an emulator of the suite's own")
FITS = {
    "one": (lambda server: len(server.loaded or ()) == 1, "needs exactly one loaded chat model"),
    "two": (lambda server: len(server.loaded or ()) > 1, "needs two loaded chat models"),
    "empty": (lambda server: server.loaded == [], "needs JIT loading off and no loaded chat model"),
    "guarded": (lambda server: server.bare.get("/v1/models").status_code == 401, "the server asks for no API token"),
    "tiny": (
        lambda server: any((model["window"] or 9**9) <= 16384 for model in server.chats),
        "needs a loaded window up to 16384",
    ),
    "clock": (lambda server: server.switches and server.state["clock"] == "manual", "needs a manual clock"),
    "named": NOBODYS,
    "split": NOBODYS,
}
"""What a real server must be like for a stage, and what is said where it is not."""


def pytest_addoption(parser):
    group = parser.getgroup("compat", "LM Studio compatibility (tests/compat)")
    group.addoption("--endpoint", metavar="URL", help="a server to test instead of lmroute's emulator")
    group.addoption("--token-env", metavar="NAME", help="environment variable with its API token")
    group.addoption("--allow", metavar="WHAT", default="", help=f"what may be done to it, of {','.join(MEANING)}")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if endpoint_of(config):
        # The table says it all, without what a traceback might show of somebody's server.
        config.option.tbstyle, config.option.reportchars = "no", ""
    config.addinivalue_line("markers", f"needs(*what): what must be allowed on a real server, of {', '.join(MEANING)}")
    config.addinivalue_line("markers", "level(name): the model list that the server must have, v0 or v1")
    config.addinivalue_line("markers", "stage(name): what the server must have loaded, or be told")
    allowed(config)
    token_of(config)


def pytest_ignore_collect(collection_path, config):
    """The suite's own tests say nothing about somebody's server."""
    return True if collection_path.name == "test_compat_suite.py" and endpoint_of(config) else None


def pytest_generate_tests(metafunc):
    if "server" in metafunc.fixturenames:
        live = endpoint_of(metafunc.config)
        metafunc.parametrize("server", ["endpoint"] if live else list(PROFILES), indirect=True)


@pytest.fixture(scope="session")
def emulators():
    """``emulators(profile, stage) -> Endpoint``, each started once."""
    started, stacks = {}, []

    def get(profile, stage):
        if (profile, stage) not in started:
            stacks.append(stack := ExitStack())
            settings = Settings(version=PROFILES[profile], script=(RECITATION,), **STAGES[stage])
            url = stack.enter_context(running(settings)).url
            started[profile, stage] = Endpoint(profile, url, token=TOKEN if stage == "guarded" else None)
            stack.callback(started[profile, stage].close)
        return started[profile, stage]

    try:
        yield get
    finally:
        with ThreadPoolExecutor() as pool:  # each takes a moment to stop
            list(pool.map(ExitStack.close, stacks))


@pytest.fixture(scope="session")
def given(pytestconfig):
    """The server that a person gave; ``None`` without one."""
    url = endpoint_of(pytestconfig)
    if url is None:
        yield None
        return
    endpoint = Endpoint(url, url, live=True, allowed=allowed(pytestconfig), token=token_of(pytestconfig))
    try:
        if endpoint.http.get("/v1/models").status_code == 401:
            pytest.exit(f"{url} wants an API token: name the variable that holds it (--token-env, TOKEN_ENV=)", 2)
        yield endpoint
    except httpx.HTTPError as error:
        pytest.exit(f"{url} does not answer ({type(error).__name__}); is its server started, and is that its port?", 2)
    finally:
        endpoint.close()


@pytest.fixture
def server(request, given, emulators):
    """The server under test, in the state that the test's marks ask for; the test is skipped where it is not."""
    stage = next((mark.args[0] for mark in request.node.iter_markers("stage")), "usual")
    profile = request.param
    request.node.user_properties.append(("target", given.label if given else profile))
    if not given and stage == "guarded" and not PROFILES[profile].has(API_TOKENS):
        pytest.skip("that release had no API tokens")
    found = given or emulators(profile, stage)
    require(found, request.node)
    if given:
        require_stage(found, stage)
    else:
        found.reset()
    return found


def require(found, item):
    """Skip a test for which something is missing."""
    level = next((mark.args[0] for mark in item.iter_markers("level")), "openai")
    wanted = {need for mark in item.iter_markers("needs") for need in mark.args}
    if "fault" in wanted and not found.switches:
        pytest.skip("only lmroute's emulator has the switches for this")
    for need in sorted(wanted - found.allowed) if found.live else ():
        pytest.skip(f"{BARRED}{need} ({MEANING[need]})")
    if not found.at_least(level):
        pytest.skip(f"the server has no /api/{level}")


def require_stage(found, stage):
    """Skip a test when a real server is not in the state that it needs; that state is the person's to choose."""
    right, why = FITS.get(stage, (lambda _: True, ""))
    if not right(found):
        pytest.skip(why)


@pytest.fixture
def seen(record_property):
    """``seen("what")``: which of several good behaviours it was; it stands below the table."""
    return lambda what: record_property("seen", what)


def pytest_terminal_summary(terminalreporter, config):
    if not any("compat" in str(asked) for asked in config.args):
        return  # among all the tests of lmroute nobody looks for it
    table = Table()
    for kind in ("failed", "error", "skipped", "passed"):
        for report in terminalreporter.stats.get(kind, ()):
            table.add(report)
    for number, line in enumerate(table.lines()):
        if not number:
            terminalreporter.section("LM Studio compatibility")
        terminalreporter.write_line(line)
