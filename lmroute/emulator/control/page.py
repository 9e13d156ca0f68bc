"""The emulator's page: the same facts as its state as JSON, for people. No script, and no text of any prompt."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from lmroute.emulator.control.journal import CONTROL_PATH
from lmroute.emulator.faults import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLE = (
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}"
    "table{border-collapse:collapse;margin:0 0 1.5rem}caption{text-align:left;font-weight:600;padding:.25rem 0}"
    "th,td{border:1px solid;padding:.2rem .6rem;text-align:left}"
)


def page(state: dict[str, Any]) -> str:
    """``state`` (see ``snapshot``) as a whole HTML document."""
    title = f"LM Studio {state['profile']} emulator"
    clock = "stands still until it is advanced" if state["clock"] == "manual" else "is the machine's"
    facts = (
        f"The {state['engine']} model answers. Asking for a model that is only on disk "
        f"{'loads' if state['jit'] else 'does not load'} it. Requests {'need' if state['require_auth'] else 'need no'} "
        f"token. The clock {clock}."
    )
    body = "\n".join([f"<p>{escape(facts)}</p>", *_tables(state)])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>
<p><a href="{CONTROL_PATH}">Refresh</a> · <a href="{CONTROL_PATH}/state">The same as JSON</a></p></header>
<main>
{body}
</main>
</body>
</html>
"""


def _tables(state: dict[str, Any]) -> Iterable[str]:
    yield _table(
        "Instances in memory",
        ("Id", "Context length, tokens", "Parallel", "Status", "Requests", "TTL left, s"),
        [
            (i["id"], i["context_length"], i["parallel"], i["status"], i["queued"], _seconds(i["remaining_ttl_s"]))
            for i in state["instances"]
        ]
        + [(name, "", "", "loading", "", "") for name in state["loading"]],
    )
    yield _table(
        "Models on disk",
        ("Key", "Type", "Format", "Greatest context length, tokens", "Instances"),
        [
            (m["key"], m["type"], m["format"], m["max_context_length"], len(m["loaded_instances"]))
            for m in state["models"]
        ],
    )
    yield _table(
        "Downloads",
        ("Job", "Model", "Status", "Bytes"),
        [(j["job_id"], j["model"], j["status"], j["downloaded_bytes"]) for j in state["downloads"]],
    )
    yield _table("Faults", ("Fault", "Value"), [(k, v) for k, v in state["faults"].items() if v != getattr(NONE, k)])
    yield _table(
        "Recent requests, newest first",
        ("Method", "Path", "Status"),
        [(r["method"], r["path"], r["status"] or "not answered yet") for r in reversed(state["requests"])],
    )


def _table(caption: str, columns: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    if not lines:
        return f"<h2>{escape(caption)}</h2>\n<p>None.</p>"
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    rows = "\n".join(f"<tr>{_cells(line)}</tr>" for line in lines)
    caption = f"<caption><h2>{escape(caption)}</h2></caption>"
    return f"<table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"


def _cells(line: Sequence[Any]) -> str:
    first, *rest = (escape(str(cell)) for cell in line)
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest)


def _seconds(value: float | None) -> str:
    return "stays" if value is None else f"{value:.0f}"
