"""The house's floors: a module imports only from lower floors or its own room, and third parties only where named."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = PROJECT / "lmroute"

FLOORS = {
    "errors": 0,
    "model": 0,
    "diagnostics": 0,
    "forks": 0,
    "config": 1,
    "routing": 1,
    "secrets": 1,
    "redact": 1,
    "logs": 1,
    "validate": 2,
    "lock": 2,
    "scaffold": 2,
    "telemetry": 2,
    "providers": 2,
    "health": 3,
    "engine": 3,
    "emulator": 3,
    "experiments": 4,
    "testing": 4,
    "ui": 4,
    "cli": 5,
    "__init__": 5,
}
NEIGHBOURS = {
    ("secrets", "redact"),  # a resolved secret is registered with the redactor
    ("logs", "redact"),  # no log line holds a secret
    ("errors", "diagnostics"),  # ConfigError carries Diagnostics
    ("validate", "lock"),  # what the servers were found to be stands in for asking them
    ("engine", "health"),  # calls go by what the watch found out, and tell it how they ended
}
"""Modules that share a row of the table and know each other, in this direction only."""

THIRD_PARTIES = {
    "config": {"jsonschema", "yaml", "ruamel", "referencing", "platformdirs"},
    "config/compose": {"hydra", "omegaconf"},
    "config/tracing": {"hydra"},
    "config/refusals": {"hydra", "omegaconf"},
    "config/repository": {"hydra"},
    "config/resolution": {"omegaconf"},
    "config/launch": {"hydra", "omegaconf"},
    "secrets": {"keyring"},
    "telemetry": {"orjson"},
    "telemetry/index": {"filelock"},
    "telemetry/otel": {"opentelemetry", "requests"},
    "providers": {"httpx", "tenacity", "anyio", "httpcore"},
    "providers/contract": {"jsonschema", "referencing"},
    "providers/embedded": {"xllamacpp", "filelock", "platformdirs"},
    "providers/lmstudio": {"filelock"},
    "health/sharing": {"filelock"},
    "engine": {"dspy", "litellm"},
    "engine/adapters": {"pydantic"},
    "engine/wire": {"httpcore"},
    "engine/resolver": {"omegaconf"},
    "emulator": {"starlette", "uvicorn"},
    "emulator/backends": {"httpx", "yaml"},
    "experiments": {"dspy", "rich"},
    "experiments/main": {"omegaconf"},
    "experiments/job": {"omegaconf"},
    "testing": {"pytest", "starlette"},
    "ui": {"starlette", "jinja2"},
}
"""The design's table by room, and below it what one place needs beyond it, where the place is the reason:

referencing      jsonschema's own way to resolve $ref between our schema files
jsonschema       in `providers/contract`, what LM Studio answers is held to schemas/lmstudio
platformdirs     where Windows and macOS keep configuration and caches
anyio, httpcore  httpx's engine; its network backend is where addresses and deadlines are checked
opentelemetry    the extra `otlp`: nothing imports that room unless it is configured
requests         in `telemetry/otel`, what OpenTelemetry's exporter sends with; a session is where proxies are refused
orjson           a record is written at every call, and json takes ten times as long
filelock         two processes must not download, start or load the same model at once, nor probe the same server,
                 nor take the same records into one index
pydantic         DSPy describes output types with it, and hands us its models
hydra            composes and launches; the rest of `config/` serves `lmroute validate --files-only`, which needs none
omegaconf        resolves what Hydra composed; `build(cfg)` and `hydra.main` take its type
httpx, yaml      the emulator's llama.cpp backend is an HTTP client; its scripts are YAML
pytest           `testing/` is fixtures for the tests of other programs; nothing imports that room but pytest
"""

DISTRIBUTIONS = {"hydra": "hydra-core", "yaml": "pyyaml", "ruamel": "ruamel.yaml", "opentelemetry": "opentelemetry-sdk"}


def modules():
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def room_of(module):
    return module.parts[0].removesuffix(".py")


def imports_of(source):
    """Absolute dotted names that a module's text imports, those under TYPE_CHECKING and inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ("." * node.level + f"{node.module or ''}.{alias.name}" for alias in node.names)


def faults(module, source):
    """What a module imports and may not, one line each. ``module`` is its path inside the package."""
    room = room_of(module)
    if room not in FLOORS:
        yield f"{module}: the room {room!r} is not in the table"
        return
    for name in imports_of(source):
        top, _, rest = name.partition(".")
        if not top:
            yield f"{module}: relative import {name}"
        elif top == "lmroute":
            target = rest.partition(".")[0]
            target = target if target in FLOORS else "__init__"
            if target != room and FLOORS[target] >= FLOORS[room] and (room, target) not in NEIGHBOURS:
                yield f"{module} (floor {FLOORS[room]}) imports {name} (floor {FLOORS[target]})"
        elif top not in sys.stdlib_module_names and top not in allowed_in(module):
            yield f"{module} imports {top}"


def allowed_in(module):
    whole = module.with_suffix("")
    places = (whole, *whole.parents)
    return {name for place in places for name in THIRD_PARTIES.get(place.as_posix(), ())}


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_imports_only_what_its_floor_allows(module):
    assert list(faults(module, (PACKAGE / module).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("model.py", "import yaml"),
        ("errors.py", "from lmroute import redact"),
        ("routing/decide.py", "from lmroute.providers.catalog import TYPES"),
        ("routing/decide.py", "if TYPE_CHECKING:\n    from lmroute.secrets import resolve"),
        ("routing/decide.py", "def f():\n    import httpx"),
        ("redact.py", "from lmroute import secrets"),
        ("diagnostics.py", "from lmroute.errors import ConfigError"),
        ("config/decode.py", "from lmroute.routing.policy import compile_policy"),
        ("config/schema.py", "from omegaconf import OmegaConf"),
        ("telemetry/sinks/sink.py", "from lmroute.providers import http"),
        ("providers/http.py", "import filelock"),
        ("engine/call.py", "import lmroute.emulator.app"),
        ("engine/call.py", "from lmroute import load"),
        ("engine/call.py", "from .shaping import shape"),
        ("attic/old.py", ""),
    ],
)
def test_a_fault_is_found(module, source):
    assert list(faults(Path(module), source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("secrets.py", "from lmroute import redact\nimport keyring"),
        ("routing/decide.py", "import math\nfrom lmroute.model import Profile\nfrom lmroute.routing import policy"),
        ("providers/embedded/serve.py", "import xllamacpp, httpx, ctypes.util"),
        ("cli/main.py", "from lmroute.ui import app\nfrom lmroute.engine import call"),
    ],
)
def test_what_the_table_allows_is_no_fault(module, source):
    assert list(faults(Path(module), source)) == []


def test_every_third_party_is_declared():
    """What is imported stands in pyproject.toml itself; that something else happens to bring it along is not enough."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {distribution_of(requirement) for requirements in lists for requirement in requirements}
    imported = {
        name.partition(".")[0]
        for module in modules()
        for name in imports_of((PACKAGE / module).read_text(encoding="utf-8"))
    } - {"lmroute", ""}
    needed = {DISTRIBUTIONS.get(name, name) for name in imported if name not in sys.stdlib_module_names}
    assert needed - declared == set()


def distribution_of(requirement):
    """The distribution that a requirement names: ``dspy>=3.4,<3.6`` is ``dspy``."""
    end = next((at for at, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), len(requirement))
    return requirement[:end].lower()
