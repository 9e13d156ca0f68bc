"""The embedded model has no server to ask: could it be started, and without a download?"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.errors import EmbeddedUnavailable
from lmroute.providers.embedded.cache import cache_dir, offline
from lmroute.providers.embedded.gguf import read_header
from lmroute.providers.embedded.weights import SMOLLM2, is_intact
from lmroute.providers.inventory import ListedModel
from lmroute.providers.probe.faults import ErrorCode, Fault
from lmroute.providers.probe.states import State

if TYPE_CHECKING:
    from lmroute.model import Profile


def look(profile: Profile) -> tuple[Fault | None, tuple[ListedModel, ...]]:
    """What is wrong with an embedded profile, and the model that it would serve. Fetches and starts nothing."""
    if find_spec("xllamacpp") is None:
        return Fault(ErrorCode.NOT_INSTALLED, "llama.cpp (xllamacpp) is not installed"), ()
    try:
        if profile.model_path:
            path = Path(profile.model_path).expanduser()
            return None, (_model(path, path.stem),)
        path = cache_dir() / "weights" / SMOLLM2.filename
        if is_intact(path, SMOLLM2):
            return None, (_model(path, SMOLLM2.model_id),)
    except (EmbeddedUnavailable, OSError, RuntimeError) as error:  # the last: a ~user that does not exist
        return Fault(ErrorCode.WEIGHTS_UNUSABLE, str(error)), ()
    return _absent(), ()


def _model(path: Path, name: str) -> ListedModel:
    return ListedModel(name, max_context_window=read_header(path).context_length)


def _absent() -> Fault:
    megabytes = round(SMOLLM2.wheel_size / 1e6)
    if offline():
        return Fault(
            ErrorCode.WEIGHTS_MISSING,
            "its weights are not on this machine, and LMROUTE_OFFLINE forbids fetching them",
            "run once without LMROUTE_OFFLINE, or set providers.embedded.model_path=/path/to/model.gguf",
            state=State.DOWN,
        )
    return Fault(
        ErrorCode.WEIGHTS_MISSING,
        f"its weights are not on this machine yet; the first call fetches {megabytes} MB",
        "run it once while the network is there: python run.py provider=embedded task=ask question=hello",
    )
