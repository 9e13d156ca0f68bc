"""YAML to a validated ``Stack``: compose (Hydra), check (JSON Schema), decode, check what must fit together.

Every finding is a ``Diagnostic`` with the file, line and column, or the override, that it is about. Hydra and
jsonschema take a third of a second to import, so they wait until the first configuration is loaded.

    LMR001  not YAML, or a key twice             LMR203  an interpolation that leads nowhere
    LMR005  a literal secret                     LMR301  a rule names what is not selected or not listed
    LMR101  a missing key or value               LMR302  a policy that can never choose a provider
    LMR102  an unknown key                       LMR305  no provider selected
    LMR103  a bad value                          LMR306  two rules of one name
    LMR201  what Hydra cannot compose            LMR307  a profile under another name than its id
                                                 LMR308  a locality that cannot be true
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmroute.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmroute.config.compose import Composition
    from lmroute.config.provenance import Locate
    from lmroute.model import Stack

__all__ = ["Checked", "check", "check_composed", "load", "read"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration without findings, and where each of its keys was set."""

    stack: Stack
    locate: Locate


def load(overrides: Sequence[str] = ()) -> Stack:
    """Compose the shipped configuration with command-line overrides and check it.

    Raises ConfigError with every finding.
    """
    return check(overrides).stack


def read(config: Mapping[str, Any]) -> Stack:
    """Check a configuration that is composed already: what ``@hydra.main`` hands over, or plain data.

    Inside of a Hydra job findings have their file positions, elsewhere only their keys.
    Raises ConfigError with every finding.
    """
    return check_composed(config).stack


def check(overrides: Sequence[str] = ()) -> Checked:
    """``load``, with the places of the keys."""
    from lmroute.config.compose import compose  # noqa: PLC0415  see above

    return _checked(compose(overrides))


def check_composed(config: Mapping[str, Any]) -> Checked:
    """``read``, with the places of the keys."""
    from lmroute.config.compose import adopt  # noqa: PLC0415  see above

    return _checked(adopt(config))


def _checked(composition: Composition) -> Checked:
    from lmroute.config import decode, references, schema  # noqa: PLC0415  see above

    broken = schema.check(composition.document, composition.locate)
    if broken:
        raise ConfigError(broken)
    stack = decode.decode(composition.document)
    loose = references.check(stack, composition.locate)
    if loose:
        raise ConfigError(loose)
    return Checked(stack, composition.locate)
