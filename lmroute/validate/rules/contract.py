"""The rule that a file keeps to the schema of its group, as far as one file can tell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lmroute.config.keypaths import dotted, undotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmroute.diagnostics import Diagnostic
    from lmroute.validate.files import File


def kept(file: File) -> Iterator[Diagnostic]:
    """LMR005, LMR101 to LMR103, under the keys that a composition would have: what it finds too is one finding."""
    for finding in file.breaches:
        yield replace(finding, key=dotted((*file.package, *undotted(finding.key))))
