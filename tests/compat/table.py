"""L01 to L24 as a table, for a person or a bug report: what held, what did not, what was not tried and why."""

from __future__ import annotations

import re
from collections import defaultdict

from lmroute import redact

BEHAVIOURS = {
    "L01": "greeting",
    "L02": "unknown routes",
    "L03": "model lists",
    "L04": "what an old release lacks",
    "L05": "chat, whole",
    "L06": "chat, streamed",
    "L07": "tool calls",
    "L08": "response_format",
    "L09": "tool_choice, parameters",
    "L10": "reasoning",
    "L11": "which model answers",
    "L12": "loading on demand",
    "L13": "load",
    "L14": "unload",
    "L15": "download",
    "L16": "API tokens",
    "L17": "context overflow",
    "L18": "parallel requests",
    "L19": "embeddings",
    "L20": "responses",
    "L21": "native chat",
    "L22": "client that leaves",
    "L23": "broken transport",
    "L24": "lms",
}
_TEST = re.compile(r"::test_(l\d\d)_")
BARRED = "not allowed: "
"""How the reason of a skip begins that a person may lift."""


class Table:
    """Collects the reports of a run."""

    def __init__(self):
        self._cells = defaultdict(set)
        self._notes = defaultdict(dict)
        self._targets = {}

    def add(self, report):
        """Take one report into account; those of other tests are none of its business."""
        found, properties = _TEST.search(report.nodeid), dict(report.user_properties)
        if not found or "target" not in properties:
            return
        law, target = found[1].upper(), properties["target"]
        self._targets[target] = None
        outcome = {"passed": "ok", "failed": "failed", "skipped": "skipped"}[report.outcome]
        if report.when == "call" or outcome != "ok":
            self._cells[law, target].add(outcome)
        if outcome != "ok":
            self._note(law, target, outcome, why := reason(report))
            self._cells[law, target] |= {"barred"} if why.startswith(BARRED) else set()
        elif report.when == "call":
            for name, value in report.user_properties:
                if name == "seen":
                    self._note(law, target, "saw", value)

    def lines(self):
        """The table, and below it why something failed or was skipped, and which of several behaviours was seen."""
        targets = list(self._targets)
        if not targets:
            return
        widths = [max(len(target), len("skipped")) for target in targets]
        yield " " * 30 + "  ".join(f"{target:{width}}" for target, width in zip(targets, widths, strict=True))
        for law, about in BEHAVIOURS.items():
            if not any((law, target) in self._cells for target in targets):
                continue
            cells = [self._cell(law, target) for target in targets]
            yield f"{law} {about:26}" + "  ".join(f"{c:{width}}" for c, width in zip(cells, widths, strict=True))
        yield ""
        for (kind, text, places), laws in self._alike().items():
            where = "" if len(places) == len(targets) else f" [{', '.join(places)}]"
            yield f"{' '.join(sorted(laws))} {kind}{where}: {text}"

    def _alike(self):
        """The laws to which the same happened in the same places."""
        laws = defaultdict(list)
        for (law, kind, text), places in self._notes.items():
            laws[kind, text, tuple(places)].append(law)
        return laws

    def _cell(self, law, target):
        found = self._cells.get((law, target), set())
        if {"ok", "barred"} <= found and "failed" not in found:
            return "partly"
        return next((word for word in ("failed", "ok", "skipped") if word in found), "skipped" if found else "-")

    def _note(self, law, target, kind, text):
        self._notes[law, kind, redact.one_line(text, 200)][target] = None


def reason(report):
    """Why a test failed or was skipped, in one line."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return next((line for line in text.splitlines() if line.strip()), "no reason given")
