"""OpenTelemetry traces, which connect a request with its execution in another process.

Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Spans have the project's own attributes, under
`fleetprompt.`, and the classes of exceptions; no payload, no message.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.conf import settings

from fleetprompt.telemetry import compat, errors

TRACEPARENT = "traceparent"
"""The key of W3C Trace Context, Level 1, in the metadata of work."""

SHUTDOWN_SECONDS = 2.0
"""The longest wait of an ending process for the collector to take its last spans."""


def is_on() -> bool:
    """Return whether traces are on."""
    return bool(settings.OTEL_EXPORTER_OTLP_ENDPOINT)


@contextmanager
def span(
    name: str, attributes: Mapping[str, str | int], *, kind: str, parent: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Trace a block; within it this span is the current one.

    Args:
        name: such as `execute forum.post.hide`.
        attributes: their names get the prefix `fleetprompt.`.
        kind: `PRODUCER` of work for later, or `CONSUMER` of it.
        parent: the result of `carrier` in the process that requested the work; the current span by default.
    """
    tracer = _tracer(settings.OTEL_EXPORTER_OTLP_ENDPOINT, os.getpid()) if is_on() else None
    if tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind

    value = (parent or {}).get(TRACEPARENT)
    with tracer.start_as_current_span(
        name,
        # Metadata comes from outside; a wrong context begins a new trace.
        context=_propagator().extract({TRACEPARENT: value}) if isinstance(value, str) else None,
        kind=SpanKind[kind],
        attributes={f"fleetprompt.{key}": value for key, value in attributes.items()},
        record_exception=False,
        set_status_on_exception=False,
    ):
        try:
            yield
        except BaseException as error:
            failed(error)
            raise


def note(name: str | None = None, **attributes: str | int) -> None:
    """Add attributes to the current span, and rename it if a name is given."""
    if is_on():
        current = _current()
        current.set_attributes({f"fleetprompt.{key}": value for key, value in attributes.items()})
        if name:
            current.update_name(name)


def failed(error: BaseException) -> None:
    """Mark the current span as failed, with the class of the exception."""
    if is_on():
        from opentelemetry.trace import StatusCode

        current = _current()
        current.set_status(StatusCode.ERROR)
        current.set_attribute("error.type", type(error).__qualname__)


def carrier() -> dict[str, str]:
    """Return metadata that makes the current span the parent of later work; empty without a span."""
    found: dict[str, str] = {}
    if is_on():
        _propagator().inject(found)
    # Without `tracestate`, which other vendors define.
    return {TRACEPARENT: found[TRACEPARENT]} if found else {}


def trace_id() -> str:
    """Return the current trace's id as 32 hexadecimal digits; empty without a trace."""
    if not is_on():
        return ""
    context = _current().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def _current() -> Any:
    from opentelemetry.trace import get_current_span

    return get_current_span()


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()


@lru_cache(maxsize=1)
def _tracer(endpoint: str, pid: int) -> Any:
    """Return the tracer of this process: its sending thread does not survive a fork."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import PROCESS_PID, SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider

    try:
        resource = Resource.create({PROCESS_PID: pid})
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "fleetprompt"}))
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(compat.span_processor(exporter, shutdown_seconds=SHUTDOWN_SECONDS))
        compat.at_process_end(provider.shutdown)
        return provider.get_tracer("fleetprompt")
    except Exception as error:
        errors.say_once("traces are", error)
        return None
