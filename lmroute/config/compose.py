"""Composition: group files and command-line overrides to one document. The only file that knows Hydra.

Hydra keeps one application's state in process-wide singletons. What is needed here is its config loader,
which keeps none: it is made once, in a session that puts back what it found, and then composes in any thread,
also inside somebody's ``@hydra.main``.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString
from hydra.core.utils import JobRuntime
from hydra.errors import MissingConfigException, OverrideParseException
from hydra.types import RunMode
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from lmroute.config import complaints
from lmroute.config.paths import options, overlays, shipped
from lmroute.config.provenance import Locate, Provenance, Setting, Source, Trace, undotted
from lmroute.config.resolution import resolved
from lmroute.config.schema import known_keys
from lmroute.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hydra.core.config_loader import ConfigLoader

    from lmroute.config.marks import KeyPath
    from lmroute.diagnostics import Diagnostic

_ROOT = "config"
_SEARCHPATH = "hydra.searchpath"
_session = threading.Lock()


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
        config = _loader().load_configuration(_ROOT, words, RunMode.RUN, from_shell=False)
    folders = _folders(config.hydra.runtime.config_sources)
    with open_dict(config):
        del config["hydra"]

    def traced() -> Trace:
        return _trace(_loader(), _ROOT, words, folders)

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
        return _trace(loader, job.job.config_name, words, _folders(job.runtime.config_sources))

    return _composition(config, tuple(job.overrides.task), traced)


def jobs(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of a sweep, so that all can be checked before one is launched.

    Counts in what ``hydra.sweeper.params`` sweeps. Without any sweep it is one job.
    Raises ConfigError when the sweep cannot be expanded.
    """
    given = tuple(overrides)
    words = [*searchpath(given), *given]
    with _complaining(given):
        master = _loader().load_configuration(_ROOT, words, RunMode.MULTIRUN, from_shell=False)
        swept = [f"{key}={value}" for key, value in (master.hydra.sweeper.get("params") or {}).items()]
        parsed = OverridesParser.create(config_loader=_loader()).parse_overrides([*swept, *given])
        return [list(job) for job in BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]]


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
                return GlobalHydra.instance().config_loader()
        finally:
            GlobalHydra.instance().hydra = outer
            if outer is not None:
                VersionBase.instance().version_base = base


def _composition(config: DictConfig, overrides: tuple[str, ...], traced: Callable[[], Trace]) -> Composition:
    document, faults = resolved(config)
    written: Any = OmegaConf.to_container(config)
    plain, raw = ({str(key): value for key, value in part.items() if key != "hydra"} for part in (document, written))
    return Composition(plain, raw, overrides, faults, traced)


def _folders(sources: Any) -> tuple[Path, ...]:
    """The search path of a composition, as far as it consists of folders."""
    return tuple(Path(source.path) for source in sources if source.schema == "file")


def _trace(loader: ConfigLoader, name: str | None, words: list[str], folders: tuple[Path, ...]) -> Trace:
    found = loader.compute_defaults_list(name, words, RunMode.RUN)
    sources = [
        Source(file, undotted(default.package or ""), default.config_path.rpartition("/")[0])
        for default in found.defaults
        if default.config_path and (file := _file(default.config_path, folders))
    ]
    settings = [
        Setting(undotted(override.key_or_group), override.value(), override.input_line)
        for override in found.config_overrides
        if not override.is_hydra_override()
    ]
    # No file is "the providers": what they are is said by the override that selects them.
    selections = [Setting(("providers",), None, word) for word in words if word.startswith("provider=")]
    return Trace(tuple(sources), (*selections, *settings))


def _file(config_path: str, folders: tuple[Path, ...]) -> Path | None:
    name = config_path if config_path.endswith(".yaml") else f"{config_path}.yaml"
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


@contextmanager
def _complaining(overrides: tuple[str, ...]) -> Iterator[None]:
    """Turn what Hydra, OmegaConf and PyYAML raise into a ConfigError; no cause, for it may quote secrets."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001  on odd input all of them let TypeErrors and assertions escape
        # What one word of the command line gets wrong keeps the next one from being read: say all of it.
        raise ConfigError(list(_misread(overrides)) or [_complaint(error, overrides)]) from None


def _complaint(error: Exception, overrides: tuple[str, ...]) -> Diagnostic:
    match error:
        case yaml.MarkedYAMLError():
            return complaints.syntax(error)
        case OverrideParseException():
            return complaints.unparsable(error.override, error.message)
        case MissingConfigException():
            return _missing(error, overrides)
        case _:
            return _refusal(error, overrides)


def _misread(overrides: tuple[str, ...]) -> Iterator[Diagnostic]:
    """What is wrong with each override by itself: it cannot be read, or chooses what there is not."""
    for word in overrides:
        try:
            (parsed,) = OverridesParser.create(config_loader=_loader()).parse_overrides([word])
        except OverrideParseException as error:
            yield complaints.unparsable(error.override, error.message)
            continue
        group = parsed.key_or_group
        if parsed.is_delete() or not (known := options(group)):
            continue
        for name in _leaves(parsed.value()):
            if name not in known:
                yield complaints.missing_option(group, name, known, (word,))


def _leaves(value: Any) -> Iterator[str]:
    """The option names in a group override's value: one, a list, a sweep over either."""
    if isinstance(value, ChoiceSweep):
        value = value.list
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, (str, QuotedString)):
        yield value if isinstance(value, str) else value.text


def _missing(error: MissingConfigException, overrides: tuple[str, ...]) -> Diagnostic:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    return complaints.missing_option(group, name, error.options or options(group), overrides)


def _refusal(error: Exception, overrides: tuple[str, ...]) -> Diagnostic:
    message = str(error) or str(error.__cause__)
    if isinstance(error.__cause__, (ConfigAttributeError, ConfigKeyError)):
        key = re.match(r"Could not override '(.*)'", message)
        override = complaints.override_of(key[1] if key else "", overrides)
        absent = error.__cause__.full_key or ""
        return complaints.absent_key(absent, override, _selected(overrides), known_keys)
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'", message):
        return complaints.several_values(several[1])
    return complaints.other(message, overrides)


def _selected(overrides: tuple[str, ...]) -> list[str]:
    """The provider profiles that the group choices among the overrides select."""
    choices = [o for o in overrides if re.match(r"[+~]?provider(@|=|$)", o)]
    return list(compose(choices).document["providers"])
