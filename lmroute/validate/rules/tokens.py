"""The rule about secrets: the ones that the chosen providers need can be found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute import secrets
from lmroute.config.complaints import selection
from lmroute.config.keypaths import dotted
from lmroute.diagnostics import Diagnostic
from lmroute.errors import SecretError
from lmroute.validate.rules.policies import reached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.model import SecretRef
    from lmroute.validate.context import Context


def present(context: Context) -> Iterator[Diagnostic]:
    """LMR401: a required secret of a provider that the policy can choose cannot be found on this machine."""
    for name in sorted(reached(context)):
        ref = context.providers[name].auth_token
        if ref is not None and secrets.is_missing(ref):
            path = ("providers", name, "auth_token")
            others = [other for other in context.selected if other != name] or ["embedded"]
            advice = f"without {name}: {selection(others)}"
            yield Diagnostic("LMR401", _why(ref), context.locate(path), dotted(path), advice)


def _why(ref: SecretRef) -> str:
    """Why there is no secret, and what to do about it, in the words of the resolver."""
    try:
        secrets.resolve(ref)
    except SecretError as error:
        return str(error)
    return f"{ref} was not set a moment ago"
