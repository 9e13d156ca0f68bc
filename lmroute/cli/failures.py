"""What keeps a command from its answer, as one JSON document where a program asked for one."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from lmroute import redact
from lmroute.cli.output import emit
from lmroute.errors import ConfigError, LmrouteError

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT_VERSION = "1.0"


@contextmanager
def told_as(kind: str) -> Iterator[None]:
    """Whatever is raised inside also becomes a document on stdout if ``kind`` is ``json``, and is raised on.

    So the message stands on stderr and the exit code is the same in every format. Nothing may have been emitted yet.
    """
    try:
        yield
    except Exception as error:
        if kind == "json":
            with suppress(OSError):  # which may be what was raised: a full disk
                emit(redact.text(json.dumps(document(error), indent=2)) + "\n")
        raise


def document(error: Exception) -> dict[str, Any]:
    """An error as plain data, with the findings that it stands for, as ``lmroute validate --format json`` has them."""
    from lmroute.validate.reporters.json_ import finding_document  # noqa: PLC0415  most commands end well
    from lmroute.validate.reporters.presentable import presented  # noqa: PLC0415  see above

    findings = error.diagnostics if isinstance(error, ConfigError) else ()
    return {
        "format_version": FORMAT_VERSION,
        "error": str(error) if isinstance(error, LmrouteError) else f"internal error: {type(error).__name__}: {error}",
        "findings": [finding_document(presented(finding)) for finding in findings],
    }
