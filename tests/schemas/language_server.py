"""An editor's side of the language server protocol: JSON-RPC over the pipes of a server."""

from __future__ import annotations

import json
import subprocess
import threading
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SETTINGS = {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}
HANGS = 300
"""Seconds after which a server that says nothing is ended, so that a broken one fails a test and does not stop it."""


class LanguageServer:
    """A running server, and one editor that talks to it."""

    def __init__(self, command: Sequence[str], root: Path) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._watchdog = threading.Timer(HANGS, self._process.kill)
        self._watchdog.start()
        self._ids = count(1)
        self._published: dict[str, list[dict[str, Any]]] = {}
        markdown = {"hover": {"contentFormat": ["markdown"]}}
        capabilities = {"workspace": {"configuration": True}, "textDocument": markdown}
        self._ask("initialize", {"processId": None, "rootUri": root.as_uri(), "capabilities": capabilities})
        self._tell("initialized", {})
        self._tell("workspace/didChangeConfiguration", {"settings": {"yaml": SETTINGS}})

    def close(self) -> None:
        """End the server."""
        self._watchdog.cancel()
        self._process.kill()
        self._process.communicate()

    def problems(self, file: Path, text: str) -> list[tuple[int, str]]:
        """Line, from 1, and message of everything wrong with a text opened as a file. Waits until something is."""
        uri = file.as_uri()
        self._tell(
            "textDocument/didOpen",
            {"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": text}},
        )
        while not self._published.get(uri):
            self._receive()
        return sorted((found["range"]["start"]["line"] + 1, found["message"]) for found in self._published.pop(uri))

    def hover(self, file: Path, line: int, column: int) -> str:
        """What is shown beside a place, which is counted from 1."""
        shown = self._ask("textDocument/hover", _at(file, line, column))
        return shown["contents"]["value"] if shown else ""

    def offered(self, file: Path, line: int, column: int) -> list[str]:
        """The words offered at a place, which is counted from 1."""
        return [item["label"] for item in self._ask("textDocument/completion", _at(file, line, column))["items"]]

    def _ask(self, method: str, params: Any) -> Any:
        number = next(self._ids)
        self._send({"id": number, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == number and "method" not in message:
                return message["result"]

    def _tell(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        headers = dict(line.split(b":", 1) for line in iter(self._line, b""))
        message = json.loads(self._process.stdout.read(int(headers[b"Content-Length"])))
        if "method" in message and "id" in message:  # the server asks the editor
            items = (message.get("params") or {}).get("items", ())
            result = [SETTINGS if item.get("section") == "yaml" else {} for item in items] or None
            self._send({"id": message["id"], "result": result})
        elif message.get("method") == "textDocument/publishDiagnostics":
            self._published[message["params"]["uri"]] = message["params"]["diagnostics"]
        return message

    def _line(self) -> bytes:
        line = self._process.stdout.readline()
        if not line:
            raise EOFError("the language server has ended")
        return line.strip()


def _at(file: Path, line: int, column: int) -> dict[str, Any]:
    return {
        "textDocument": {"uri": file.as_uri()},
        "position": {"line": line - 1, "character": column - 1},
    }
