"""What a project is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from lmroute.config.paths import MARKER, shipped
from lmroute.config.schema import POLICY_TEST

_TEMPLATES = Path(__file__).parent / "project"
_CONF = "conf"
_SCHEMAS = ".lmroute/schemas"
"""Where a project keeps the schemas, so that an editor finds them without a network."""


class Kind(Enum):
    """Whose a file is once it is made."""

    EXAMPLE = "example"
    """The user's, to change or delete: made with the project and never again."""
    OURS = "ours"
    """Made again when a newer lmroute has a newer one."""
    SHARED = "shared"
    """A file that other tools' settings stand in too: made only where there is none."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of a project.

    Attributes:
        name: its path in the project, with slashes.
        sign: of a shared file, the text that shows that our part is in it.
    """

    name: str
    text: str
    kind: Kind
    sign: str = ""


_SHARED = {".pre-commit-config.yaml": "lmroute validate", ".vscode/settings.json": f"{_SCHEMAS}/provider.schema.json"}


def pieces() -> list[Piece]:
    """All of them; the marker, which makes a folder a project, is the last one."""
    marker = f"{_CONF}/{MARKER}"
    return sorted([*_templates(), *_schemas()], key=lambda piece: (piece.name == marker, piece.name))


def _templates() -> list[Piece]:
    files = (file for file in _TEMPLATES.rglob("*") if file.is_file())
    return [_template(_dotted(file.relative_to(_TEMPLATES)), file.read_text(encoding="utf-8")) for file in files]


def _template(name: str, text: str) -> Piece:
    if name in _SHARED:
        return Piece(name, text, Kind.SHARED, _SHARED[name])
    return Piece(name, text, Kind.EXAMPLE if name.startswith(f"{_CONF}/") else Kind.OURS)


def _dotted(path: Path) -> str:
    parts = (f".{part.removeprefix('dot_')}" if part.startswith("dot_") else part for part in path.parts)
    return str(PurePosixPath(*parts))


def _schemas() -> list[Piece]:
    v1 = shipped("schemas") / "v1"
    files = (*(v1 / "authoring").glob("*.schema.json"), v1 / f"{POLICY_TEST}.schema.json")
    return [
        Piece(f"{_SCHEMAS}/{file.name}", file.read_text(encoding="utf-8"), Kind.OURS)
        for file in files
        if file.name != "config.schema.json"  # lmroute's own root, which no project has
    ]
