"""Composition: group files and command-line overrides to one document.

Hydra keeps one application's state in process-wide singletons. What is needed here is its config loader,
which keeps none: it is made once, in a session that puts back what it found, and then composes in any thread,
also inside somebody's ``@hydra.main``.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, open_dict

from lmroute.config.paths import overlays, shipped
from lmroute.config.provenance import Locate, Provenance, Trace
from lmroute.config.refusals import refused
from lmroute.config.repository import Repository
from lmroute.config.resolution import resolved
from lmroute.config.tracing import folders_of, trace
from lmroute.errors import ConfigError, LmrouteError
from lmroute.forks import in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hydra.core.config_loader import ConfigLoader

    from lmroute.config.keypaths import KeyPath

_ROOT = "config"
_SEARCHPATH = "hydra.searchpath"
_session = threading.Lock()


@in_child
def _begin_in_child() -> None:
    global _session  # noqa: PLW0603 - it is the process's
    _session = threading.Lock()  # the parent may have been composing


class TooManyJobs(LmrouteError):
    """A sweep with more jobs than were asked for."""


@dataclass(frozen=True)
class Composition:
    """A composed configuration.

    Attributes:
        document: plain, resolved data without Hydra's own node; what leads nowhere is ``Unresolved`` in it.
        written: the same with its interpolations as they are written.
        overrides: the command line it was composed for.
        faults: why something in the document is ``Unresolved``, by its key.
    """

    document: dict[str, Any]
    written: dict[str, Any] = field(repr=False, compare=False)
    overrides: tuple[str, ...]
    faults: Mapping[KeyPath, str] = field(repr=False, compare=False)
    _traced: Callable[[], Trace] = field(repr=False, compare=False)

    @property
    def is_traceable(self) -> bool:
        """Whether the files and overrides that it was made of are known."""
        return self._traced is not Trace

    @cached_property
    def trace(self) -> Trace:
        """Its files and settings in merge order; costs half a composition, so it waits until asked for."""
        return self._traced()

    @cached_property
    def locate(self) -> Locate:
        """Says where each key of the document was set."""
        return Provenance(self.document, lambda: self.trace)


def compose(overrides: Sequence[str] = ()) -> Composition:
    """Compose ``config.yaml``, the chosen group files, the user's overlays and the overrides.

    Raises ConfigError when Hydra or OmegaConf refuses: with what is wrong with each override by itself, else with one
    diagnostic. An interpolation that leads nowhere is no refusal, but a fault of the composition.
    """
    given = tuple(overrides)
    words = [*searchpath(given), *given]
    with _complaining(given):
        config = _load(given)
    folders = folders_of(config.hydra.runtime.config_sources)
    with open_dict(config):
        del config["hydra"]

    def traced() -> Trace:
        return trace(_loader(), _ROOT, words, folders)

    return _composition(config, given, traced)


def adopt(config: Mapping[str, Any]) -> Composition:
    """The composition that a configuration came from, which Hydra has already composed.

    In the task function of a ``@hydra.main`` its keys can be traced to files and overrides, elsewhere they
    cannot. Raises ConfigError when it is no configuration at all.
    """
    if not isinstance(config, DictConfig):
        with _complaining(()):
            config = OmegaConf.create(dict(config))
    if not (HydraConfig.initialized() and GlobalHydra.instance().is_initialized()):
        return _composition(config, (), Trace)
    job = HydraConfig.get()
    loader = GlobalHydra.instance().config_loader()

    def traced() -> Trace:
        words = [*job.overrides.hydra, *job.overrides.task]
        return trace(loader, job.job.config_name, words, folders_of(job.runtime.config_sources))

    return _composition(config, tuple(job.overrides.task), traced)


def exchanged(
    base: Composition, places: Mapping[str, Any], overrides: tuple[str, ...], traced: Callable[[], Trace]
) -> Composition:
    """A composition with other values at some of its top-level keys; interpolations are resolved anew.

    Args:
        places: the values by key, as a file would have them: plain data with text keys.
        overrides, traced: what the caller knows to lead to this document.

    Raises ConfigError when OmegaConf refuses a value.
    """
    written = {**base.written, **places}
    if "${" not in str(written):  # nothing to resolve, and OmegaConf takes a while
        return Composition(written, written, overrides, {}, traced)
    with _complaining(overrides):
        config = OmegaConf.create(written)
    return _composition(config, overrides, traced)


def jobs(overrides: Sequence[str], most: int | None = None) -> list[list[str]]:
    """The overrides of each job of a sweep, so that all can be checked before one is launched.

    Counts in what ``hydra.sweeper.params`` sweeps. Without any sweep it is one job.
    Raises ConfigError when the sweep cannot be expanded, and TooManyJobs instead of expanding more than ``most`` jobs.
    """
    given = tuple(overrides)
    words = [*searchpath(given), *given]
    with _complaining(given, sweep=True):
        master = _loader().load_configuration(_ROOT, words, RunMode.MULTIRUN, from_shell=False)
        swept = [f"{key}={value}" for key, value in (master.hydra.sweeper.get("params") or {}).items()]
        parsed = OverridesParser.create(config_loader=_loader()).parse_overrides([*swept, *given])
        if most is not None and _exceeds(parsed, most):
            raise TooManyJobs(f"the sweep has more than {most} jobs")
        expanded = [list(job) for job in BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]]
        if not expanded:
            raise HydraException("the sweep has no jobs")
        return expanded


def _exceeds(words: Sequence[Override], most: int) -> bool:
    """Whether a sweep has more jobs than that. Counts no further, for a range may have any number of values."""
    values = {word.get_key_element(): _values(word) for word in words if word.is_discrete_sweep()}
    return prod(sum(1 for _ in islice(found, most + 1)) for found in values.values()) > most


def _values(word: Override) -> Iterator[Any]:
    value = word.value()
    # Asked for a shuffled range, Hydra lists it first.
    return iter(value.range()) if isinstance(value, RangeSweep) else word.sweep_string_iterator()


def sweeps(overrides: Sequence[str]) -> bool:
    """Whether what is chosen makes a sweep of it, without ``-m``: an experiment with ``hydra: {mode: MULTIRUN}``."""
    words = [*searchpath(overrides), *overrides]
    try:
        found = _loader().load_configuration(_ROOT, words, RunMode.MULTIRUN, validate_sweep_overrides=False)
    except Exception:  # noqa: BLE001  whoever composes it will say what is wrong
        return False
    return bool(found.hydra.mode == RunMode.MULTIRUN)


def searchpath(overrides: Sequence[str] = ()) -> list[str]:
    """The override that makes Hydra look into the user's overlay folders, for a ``@hydra.main`` too.

    Empty when there are no such folders, or when the overrides choose a search path themselves.
    """
    folders = overlays()
    if not folders or any(override.lstrip("+").startswith(_SEARCHPATH) for override in overrides):
        return []
    listed = ",".join('"file://{}"'.format(folder.as_posix().replace('"', r"\"")) for folder in folders)
    return [f"{_SEARCHPATH}=[{listed}]"]


def version_base() -> dict[str, str]:
    """The parameter that Hydra 1.3 warns about when it is missing and 1.4 deprecates."""
    recent = tuple(int(part) for part in hydra.__version__.split(".")[:2]) >= (1, 4)
    return {} if recent else {"version_base": "1.3"}


@cache
def _loader() -> ConfigLoader:
    """A loader of the shipped configuration."""
    with _session:
        base, name = VersionBase.instance().version_base, JobRuntime.instance().get("name")
        outer = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            with hydra.initialize_config_dir(str(shipped("conf")), job_name=name, **version_base()):
                loader = GlobalHydra.instance().config_loader()
                loader.repository = Repository(loader.get_search_path())  # type: ignore[attr-defined]
                return loader
        finally:
            GlobalHydra.instance().hydra = outer
            if outer is not None:
                VersionBase.instance().version_base = base


def _composition(config: DictConfig, overrides: tuple[str, ...], traced: Callable[[], Trace]) -> Composition:
    document, faults = resolved(config)
    written: Any = OmegaConf.to_container(config)
    plain, raw = ({str(key): value for key, value in part.items() if key != "hydra"} for part in (document, written))
    return Composition(plain, raw, overrides, faults, traced)


@contextmanager
def _complaining(overrides: tuple[str, ...], *, sweep: bool = False) -> Iterator[None]:
    """Turn what Hydra, OmegaConf and PyYAML raise into a ConfigError; no cause, for it may quote secrets."""
    try:
        yield
    except LmrouteError:
        raise
    except Exception as error:  # noqa: BLE001  on odd input all of them let TypeErrors and assertions escape
        found = refused(error, overrides, _loader(), _load, sweep=sweep)
        raise ConfigError([replace(finding, overrides=overrides) for finding in found]) from None


def _load(overrides: Sequence[str]) -> DictConfig:
    """What Hydra makes of overrides, its own node included. Raises whatever Hydra and OmegaConf raise."""
    return _loader().load_configuration(_ROOT, [*searchpath(overrides), *overrides], RunMode.RUN, from_shell=False)
