"""SARIF 2.1.0, for code scanning. What was found on the command line is a result without a location."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from importlib import metadata
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lmroute.validate.reporters.places import absolute, in_repository, is_file, repository
from lmroute.validate.reporters.words import reproduce, subject
from lmroute.validate.table import RULES

if TYPE_CHECKING:
    from pathlib import Path

    from lmroute.diagnostics import Diagnostic, Location, Report
    from lmroute.validate.rule import Rule

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_FINGERPRINT = "lmroute/v1"


def render(report: Report, *, color: bool) -> str:  # noqa: ARG001  a Reporter
    """The report as one SARIF log with one run."""
    driver = {"name": "lmroute", "version": _version(), "rules": [_rule(rule) for rule in RULES.values()]}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": _results(report)}
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _version() -> str:
    try:
        return metadata.version("lmroute")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.why}\n\nAn example of each kind: lmroute explain {rule.code}"},
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _results(report: Report) -> list[dict[str, Any]]:
    root, seen = repository(), Counter[str]()
    indexes = {code: index for index, code in enumerate(RULES)}
    results = []
    for finding in report.diagnostics:
        mark = _fingerprint(finding, root)
        seen[mark] += 1
        result = {
            "ruleId": finding.code,
            **({"ruleIndex": indexes[finding.code]} if finding.code in indexes else {}),
            "level": finding.severity.value,
            "message": {"text": "\n".join(filter(None, (subject(finding), finding.help)))},
            "locations": [_location(finding.location, root)] if is_file(finding.location) else [],
            "relatedLocations": [
                {"id": number, "message": {"text": str(related)}, **_location(related.location, root)}
                for number, related in enumerate(finding.related, start=1)
            ],
            # The same mistake may stand in a file more than once.
            "partialFingerprints": {_FINGERPRINT: f"{mark}:{seen[mark]}"},
            "properties": {"key": finding.key, "reproduce": reproduce(finding)},
        }
        results.append(result)
    return results


def _fingerprint(finding: Diagnostic, root: Path) -> str:
    """What stays the same when lines above the finding come and go."""
    place = in_repository(finding.location, root) or finding.location.file
    parts = (finding.code, place, finding.location.override, finding.key, finding.message)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _location(location: Location, root: Path) -> dict[str, Any]:
    if not is_file(location):
        return {}
    inside = in_repository(location, root)
    artifact = {"uri": absolute(location).as_uri()} if inside is None else {"uri": quote(inside)}
    physical: dict[str, Any] = {"artifactLocation": artifact}
    if location.line:
        region = {"startLine": location.line, "startColumn": location.column, "endLine": location.end_line,
                  "endColumn": location.end_column}  # fmt: skip
        physical["region"] = {name: number for name, number in region.items() if number}
    return {"physicalLocation": physical}
