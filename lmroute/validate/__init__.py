"""``lmroute validate``: every mistake in the configuration, with its place and its fix, before anything runs.

    files.py -> rules of files                    \\
                                                   > suppressions.py -> reporters/
    sampling.py -> compositions.py -> pipeline.py /

``selection.run`` answers the command line: it takes the files by themselves, then the compositions that were asked for
or sampled. ``table.py`` lists every rule, ``rules/`` has their generators. The functions below are the front door for
programs: they compose, check, and raise when something is wrong. Nothing here imports DSPy, LiteLLM or an HTTP client.
``policy_tests/`` stands by itself: it runs the tests that lie beside the policies, ``lmroute policy test``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lmroute.diagnostics import Diagnostic, Severity
from lmroute.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmroute.config.compose import Composition
    from lmroute.config.provenance import Locate
    from lmroute.model import Stack

__all__ = ["Checked", "check", "check_composed", "load", "read"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration without errors, where each of its keys was set, and what it is warned about."""

    stack: Stack
    locate: Locate
    warnings: tuple[Diagnostic, ...] = ()


def load(overrides: Sequence[str] = ()) -> Stack:
    """Compose the shipped configuration with command-line overrides and check it.

    Raises ConfigError with every error.
    """
    return check(overrides).stack


def read(config: Mapping[str, Any]) -> Stack:
    """Check a configuration that is composed already: what ``@hydra.main`` hands over, or plain data.

    Inside of a Hydra job findings have their file positions, elsewhere only their keys.
    Raises ConfigError with every error.
    """
    return check_composed(config).stack


def check(overrides: Sequence[str] = ()) -> Checked:
    """``load``, with the places of the keys and the warnings."""
    # Hydra and jsonschema take a third of a second to import, so they wait for the first configuration.
    from lmroute.config.compose import compose  # noqa: PLC0415

    return _checked(compose(overrides))


def check_composed(config: Mapping[str, Any]) -> Checked:
    """``read``, with the places of the keys and the warnings."""
    from lmroute.config.compose import adopt  # noqa: PLC0415  see above

    return _checked(adopt(config))


def _checked(composition: Composition) -> Checked:
    from lmroute.config.decode import decode  # noqa: PLC0415  see above
    from lmroute.validate.pipeline import judge  # noqa: PLC0415  see above

    found = judge(composition)
    if errors := [finding for finding in found if finding.severity is Severity.ERROR]:
        raise ConfigError(errors)
    overrides = composition.overrides if composition.is_traceable else None
    stack = replace(decode(composition.document), overrides=overrides)
    return Checked(stack, composition.locate, tuple(found))
