"""How servers are watched, and what is kept of calls."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmroute.model.secret import SecretRef


@dataclass(frozen=True, slots=True)
class Health:
    """How the providers' health is watched beside the router. Without a watch only calls tell how a server is.

    Attributes:
        watch: whether servers that no call tells of are probed, from the first call on.
        interval_s: seconds between two probes of a server that is well; those of a sick one grow up to four times that.
        timeout_s: one try of a probe, whatever the server does.
        retries: more tries after the first, for faults that may be over in a moment.
        down_after: so many sick probes in a row make a well server sick.
        up_after: so many good ones in a row bring one back that was down.
        share: whether processes of one machine use each other's results.
    """

    watch: bool = False
    interval_s: float = 15.0
    timeout_s: float = 2.0
    retries: int = 2
    down_after: int = 2
    up_after: int = 2
    share: bool = True


class Semconv(StrEnum):
    """The names that OpenTelemetry's GenAI conventions have for things: those of v1.41, the next ones, or both."""

    V1_41 = "v1_41"
    NEXT = "next"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Otlp:
    """Where spans and metrics go, over OTLP/HTTP.

    Attributes:
        endpoint: base URL of a collector; ``None`` is what ``OTEL_EXPORTER_OTLP_ENDPOINT`` says.
        auth_token: sent as ``Authorization: Bearer``.
    """

    endpoint: str | None = None
    auth_token: SecretRef | None = None
    semconv: Semconv = Semconv.V1_41
    spans: bool = True
    metrics: bool = True


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What is kept of calls.

    Attributes:
        records: whether call records are kept in the user's own state folder.
        keep_days: records older than that are deleted.
        capture_content: whether records, and spans, hold prompts and answers.
        otlp: where spans and metrics go, if they go anywhere.
    """

    records: bool = False
    keep_days: int = 30
    capture_content: bool = False
    otlp: Otlp | None = None
