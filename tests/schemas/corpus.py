"""The v1 files of ``tests/golden/v1``: what every 1.x accepts, and what it must go on to refuse."""

from pathlib import Path

import pytest

from lmroute.config.paths import shipped
from lmroute.config.provenance import Provenance, Source, Trace
from lmroute.config.schema import check_file
from lmroute.config.text import yaml11
from lmroute.diagnostics import Diagnostic

ROOT = Path(__file__).parents[1] / "golden" / "v1"
CONF = shipped("conf")


def files(kind):
    """The corpus files of a kind as test parameters."""
    found = sorted((ROOT / kind).rglob("*.yaml"))
    return [pytest.param(file, id=f"{file.parent.name}/{file.stem}") for file in found]


def shipped_files():
    """Those that have a schema of ours, which options of Hydra's own groups have not."""
    found = sorted(file for file in CONF.rglob("*.yaml") if file.relative_to(CONF).parts[0] != "hydra")
    return [pytest.param(file, id=file.relative_to(CONF).as_posix()) for file in found]


def group_of(file: Path) -> str:
    return "config" if file.parent == CONF else "policy_test" if file.parent.name == "tests" else file.parent.name


def document(file: Path):
    text = yaml11.read(file.read_text(encoding="utf-8"))
    assert text.error is None
    return text.document


def findings(file: Path) -> list[Diagnostic]:
    """What checking one file by itself finds."""
    content = document(file)
    locate = Provenance(content, lambda: Trace((Source(file, ()),)))
    return check_file(group_of(file), content, locate)


def summary(finding: Diagnostic) -> str:
    """What of a finding stays the same in every 1.x: its place, code and key; words may get better."""
    return f"{finding.location.line}:{finding.location.column} {finding.code} {finding.key}".rstrip()
