"""Every rule of ``lmroute validate`` in one table.

A rule is a generator of diagnostics: of one file by itself, or of a composed configuration. What YAML, composing, the
schemas and running servers say has rows here too, so that each code has one severity and one explanation. Every row
but those of servers has examples in ``examples/<code>/{bad,good}``, which a test holds it to and ``lmroute explain``
prints.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from lmroute.validate.rows import files, locks, policies, proofs, servers

if TYPE_CHECKING:
    from lmroute.validate.rule import ConfigCheck, FileCheck, Rule

_TOLD = (*files.ROWS, *policies.ROWS, *proofs.ROWS, *locks.ROWS, *servers.ROWS)
_ROWS = tuple(sorted(_TOLD, key=lambda rule: rule.code))

RULES: dict[str, Rule] = {rule.code: rule for rule in _ROWS}
"""The rules by code, in the order of their numbers."""

FILE_CHECKS: tuple[FileCheck, ...] = tuple(dict.fromkeys(chain.from_iterable(rule.of_file for rule in _ROWS)))
CONFIG_CHECKS: tuple[ConfigCheck, ...] = tuple(dict.fromkeys(chain.from_iterable(rule.of_config for rule in _ROWS)))
