"""Prometheus: ``exposition(counted(index, now), servers)`` is the text of ``/metrics``, or of a textfile collector."""

from lmroute.telemetry.prometheus.counted import counted
from lmroute.telemetry.prometheus.known import Attempts, Calls, Counts, Server
from lmroute.telemetry.prometheus.metrics import exposition
from lmroute.telemetry.prometheus.text import CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "Attempts", "Calls", "Counts", "Server", "counted", "exposition"]
