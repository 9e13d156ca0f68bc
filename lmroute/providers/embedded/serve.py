"""The child process: llama.cpp's HTTP server, which lives exactly as long as somebody holds it.

A *holder* keeps one loopback connection open, its lifeline. The kernel closes it when the holder dies, however it
dies, and when no lifeline is left this process ends. Run as a plain script, so this file imports nothing of lmroute:
the child must start whatever folder it is in and however lmroute was put on the path.

It reads one JSON line from stdin (see ``launch.Plan``), writes its lease (see ``lease``), says one line on stdout, and
keeps stderr for llama.cpp's own complaints.
"""

from __future__ import annotations

import faulthandler
import hmac
import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

GREETING = b"held\n"
OTHERS = b"others\n"
HANDSHAKE_S = 5.0
_FIRST_HOLDER_S = 15.0
_WEIGHTS_PER_THREAD = 256 * 1024 * 1024
_MOST_PROMPT_THREADS = 8


class Holders:
    """Counts lifelines, one thread each; ``leave`` is called when the last one has gone."""

    def __init__(self, key: bytes, leave: Any) -> None:
        self._key = key
        self._leave = leave
        self._count = 0
        self._lock = threading.Lock()

    def attend(self, listener: socket.socket) -> None:
        """Accept lifelines for ever; leave when nobody came in time."""
        listener.settimeout(_FIRST_HOLDER_S)
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                self._leave_if_alone()
            else:
                threading.Thread(target=self._hold, args=(connection,), daemon=True).start()

    def _hold(self, connection: socket.socket) -> None:
        with connection:
            if not self._is_holder(connection):
                return
            with self._lock:
                self._count += 1
            _until_closed(connection)
            with self._lock:
                self._count -= 1
            self._leave_if_alone()
            _send(connection, OTHERS)

    def _is_holder(self, connection: socket.socket) -> bool:
        connection.settimeout(HANDSHAKE_S)
        try:
            with connection.makefile("rb") as lines:
                return hmac.compare_digest(lines.readline(256).strip(), self._key)
        except OSError:
            return False

    def _leave_if_alone(self) -> None:
        with self._lock:  # held while leaving: nobody is let in who would then lose the server
            if self._count == 0:
                self._leave()


def _until_closed(connection: socket.socket) -> None:
    connection.settimeout(None)
    try:
        connection.sendall(GREETING)
        connection.recv(1)
    except OSError:
        return  # reset: closed as well


def _send(connection: socket.socket, message: bytes) -> None:
    try:
        connection.sendall(message)
    except OSError:
        return  # a holder that was killed does not listen


def load(plan: dict[str, Any]) -> Any:
    """Load the model and start llama.cpp's server, set up so that equal requests get equal answers.

    Measured, with greedy sampling: reusing the cached prefix of an earlier prompt, batching concurrent requests and
    flash attention over several threads each change the last bits of the logits and now and then a word. Without them
    answers are bit-identical in any order, under concurrency and for any number of threads.
    """
    import xllamacpp  # noqa: PLC0415 - heavy, and only the child needs it

    params = xllamacpp.CommonParams()
    params.model.path = plan["model"]
    params.model_alias = {plan["model_id"]}
    params.n_ctx = plan["context_window"]
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.n_parallel = 1
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.sampling.temp = 0.0  # what a request does not say is greedy and seeded
    params.sampling.seed = 0
    params.cpuparams.n_threads, params.cpuparams_batch.n_threads = threads(Path(plan["model"]).stat().st_size)
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [plan["api_key"]]
    params.cors_origins = ""  # no web page has business here
    params.ui = False
    params.endpoint_slots = False
    params.offline = True
    params.verbosity = 1  # errors only: nothing of a prompt is ever logged
    return xllamacpp.Server(params)


def threads(weights_size: int) -> tuple[int, int]:
    """Threads for generating and for reading the prompt, given the bytes of the weights.

    Threads that generate meet at a barrier hundreds of times a token. For a small model one thread is as fast on an
    idle machine and many times faster on a busy one; a large model has work enough between two barriers. A prompt is
    read in big batches, where all cores pay.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    generating = max(1, min(cores, weights_size // _WEIGHTS_PER_THREAD))
    return generating, max(generating, min(cores, _MOST_PROMPT_THREADS))


def main() -> None:
    """Serve the plan on stdin until the last holder has gone."""
    plan = json.loads(sys.stdin.readline())
    # Loading holds the GIL, so no lifeline could end it. Our starter does when it takes too long; this clock, which
    # needs no GIL, is for the case that the starter has died.
    faulthandler.dump_traceback_later(2 * plan["load_s"] + 1, exit=True)
    server = load(plan)
    faulthandler.cancel_dump_traceback_later()
    lease = Path(plan["lease"])

    def leave() -> None:
        lease.unlink(missing_ok=True)
        os._exit(0)  # nobody is left to wait for an orderly end

    with socket.create_server(("127.0.0.1", 0)) as listener:
        ready = {"pid": os.getpid(), "base_url": server.listening_address, "port": listener.getsockname()[1]}
        print(json.dumps(ready), flush=True)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the starter hangs up now; later output must not break
        Holders(plan["api_key"].encode(), leave).attend(listener)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # noqa: BLE001 - whatever it is, its last line is what the starter quotes
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
