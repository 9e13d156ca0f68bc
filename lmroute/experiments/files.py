"""The files of a run, in Hydra's run directory: ``results.jsonl``, ``summary.json`` and the call records."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Self, TextIO

from lmroute import redact

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from lmroute.experiments.outcomes import Outcome

CALLS = "calls.jsonl"
RESULTS = "results.jsonl"
SUMMARY = "summary.json"


class RunFiles:
    """Writes each result as soon as it is known, so that an interrupted run keeps what it has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._results: TextIO | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        # For this user's eyes only: unlike the call records it holds what the model was asked.
        mine = os.open(self.folder / RESULTS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        # Half a surrogate pair, which a model may well answer with, is written as JSON's own escape.
        self._results = os.fdopen(mine, "w", encoding="utf-8", errors="backslashreplace", newline="\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._results is not None:
            self._results.close()
            self._results = None

    def add(self, outcome: Outcome) -> None:
        """Append one row to ``results.jsonl``."""
        if self._results is None:
            raise ValueError("RunFiles is used as a context manager")
        self._results.write(redact.text(json.dumps(outcome.as_dict(), ensure_ascii=False, default=str)) + "\n")
        self._results.flush()

    def finish(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json``, whole or not at all."""
        path = self.folder / SUMMARY
        partial = path.with_suffix(".partial")
        text = redact.text(json.dumps(summary, indent=2, ensure_ascii=False))
        partial.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        partial.replace(path)
