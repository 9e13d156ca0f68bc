"""pytest fixtures: LM Studio's server for a test, without LM Studio.

Switch them on in the ``conftest.py`` of your tests' root folder (pytest takes ``pytest_plugins`` only there):

    pytest_plugins = ["lmroute.testing.lmstudio"]

and use them, from sync and async tests alike:

    def test_my_program(lmstudio):
        client = OpenAI(base_url=lmstudio.base_url, api_key="any")
        ...
        assert lmstudio.requests[-1].json["model"] == "rookery/tern-3b-instruct"

    def test_an_old_release(start_lmstudio):
        server = start_lmstudio(profile="0.3.31", models=["my/model"], script=[{"match": "hi", "reply": "hello"}])

They need what the emulator needs: ``pip install 'lmroute[ui]'``.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from lmroute.emulator.app import create_app
from lmroute.emulator.backends.script import read_script
from lmroute.emulator.catalog import Model
from lmroute.emulator.control.remote import Remote
from lmroute.emulator.lms.install import install
from lmroute.emulator.running import in_thread, opened
from lmroute.emulator.settings import Settings, Token
from lmroute.emulator.transport.sockets import LOOPBACK, bound, url_of
from lmroute.emulator.versions import NEWEST, PROFILES
from lmroute.errors import LmrouteError
from lmroute.model import Secret
from lmroute.testing.received import Listener, Received

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lmroute.emulator.backends.script import Line

    Start: TypeAlias = Callable[..., "LMStudio"]


class LMStudio:
    """A server that runs until the test ends.

    Attributes:
        url: where it is, for native clients and Anthropic's.
        base_url: the same with ``/v1``, for OpenAI's.
        requests: what it was asked, oldest first; what this object asks is not among them.
    """

    def __init__(self, url: str, requests: list[Received]) -> None:
        self.url = url
        self.base_url = f"{url}/v1"
        self.requests = requests
        self._remote = Remote(url)

    def state(self) -> dict[str, Any]:
        """Models, instances, downloads, faults: see ``lmroute.emulator.control.snapshot``."""
        return self._remote.state()

    def advance(self, seconds: float) -> None:
        """Let time pass, for loads, TTLs and downloads."""
        self._remote.advance(seconds)

    def faults(self, **faults: Any) -> None:
        """Have exactly these faults from now on, by the names in ``lmroute.emulator.faults``; none without any."""
        self._remote.set_faults(**faults)

    def load(self, model: str, **how: Any) -> str:
        """Load one more copy as a person does, and return its id.

        ``how`` may have identifier, context_length, parallel and ttl_s. Where loads take time (``load_seconds``), this
        waits for another thread to let it pass.
        """
        return str(self._remote.load(model, **how)["instances"][-1]["id"])

    def unload(self, instance_id: str) -> None:
        """Unload one copy as a person does; what it is answering ends with an error."""
        self._remote.unload(instance_id)

    def install_lms(self, folder: Path) -> Path:
        """Write a script ``lms`` that commands this server into ``folder``, and return its path."""
        return install(folder, self.url)


@pytest.fixture
def start_lmstudio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start servers of your own: ``start_lmstudio(profile="0.3.31", ...)``, with the options of ``settings``."""
    with ExitStack() as stack:

        def start(**options: Any) -> LMStudio:
            return stack.enter_context(serving(settings(tmp_path_factory.mktemp("lmstudio"), **options)))

        yield start


@pytest.fixture
def lmstudio(start_lmstudio: Start) -> LMStudio:
    """A server of the newest release that is known, with a scripted model loaded. Its clock stands still."""
    return start_lmstudio()


def settings(
    folder: Path,
    *,
    profile: str = NEWEST.name,
    models: Sequence[str | Model] | None = None,
    script: Path | Sequence[Mapping[str, Any]] = (),
    token: str = "",
    **others: Any,
) -> Settings:
    """What ``start_lmstudio`` takes, but for ``folder``, which is empty and holds the script if one is to be written.

    Args:
        profile: the release to imitate.
        models: what is on disk, as keys or whole models; the first chat model is loaded.
        script: what is answered to what: a script file, or its lines as data.
        token: the API token to ask for; none by default.
        others: fields of ``lmroute.emulator.settings.Settings``.

    Raises:
        LmrouteError: when there is no such profile, the script has another form, or the settings contradict each other.
    """
    if profile not in PROFILES:
        raise LmrouteError(f"there is no profile '{profile}'; take one of {', '.join(PROFILES)}")
    fields = {
        "version": PROFILES[profile],
        "models": None if models is None else tuple(m if isinstance(m, Model) else Model.named(m) for m in models),
        "script": _lines(script, folder),
        "require_auth": bool(token),
        "tokens": (Token(Secret(token)),) if token else (),
        "clock": "manual",
    }
    return Settings(**(fields | others))


@contextmanager
def serving(chosen: Settings) -> Iterator[LMStudio]:
    """A server until the block ends."""
    received: list[Received] = []
    with bound(LOOPBACK, 0) as listener, opened(chosen) as backend:
        app = create_app(chosen, backend)
        app.add_middleware(Listener, received=received)
        with in_thread(app, listener):
            yield LMStudio(url_of(listener), received)


def _lines(script: Path | Sequence[Mapping[str, Any]], folder: Path) -> tuple[Line, ...]:
    if not isinstance(script, Path):
        lines, script = script, folder / "script.yaml"
        script.write_text(json.dumps([*lines], ensure_ascii=False), encoding="utf-8")  # JSON is YAML
    return read_script(script)
