"""Calls as OpenTelemetry spans and metrics: the extra ``otlp``. Nothing imports this room unless it is configured."""

from lmroute.errors import MissingExtra

try:
    import opentelemetry.exporter.otlp.proto.http
    import opentelemetry.sdk.trace  # noqa: F401 - the API alone often comes with something else
except ImportError as error:
    raise MissingExtra("telemetry.otlp", "otlp") from error
