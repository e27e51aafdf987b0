"""OpenTelemetry traces: what was asked in one process and done in another, as one tree of spans.

Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Spans have attributes of the project's own, under
`fleetprompt.`, and of exceptions the class only: no payload, no message.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.conf import settings

from fleetprompt.telemetry import compat, errors

TRACEPARENT = "traceparent"
"""The key of the W3C's trace context, Level 1, in what travels with a piece of work."""

LAST_WORDS = 2.0
"""Seconds that a process which ends waits at most until the collector has taken its last spans."""


def is_on() -> bool:
    """Return whether anything is traced."""
    return bool(settings.OTEL_EXPORTER_OTLP_ENDPOINT)


@contextmanager
def span(
    name: str, attributes: Mapping[str, str | int], *, kind: str, parent: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Trace a block; within it this span is the current one.

    Args:
        name: what is done, such as `execute forum.post.hide`.
        attributes: their names get the prefix `fleetprompt.`.
        kind: `PRODUCER` of work for later, or `CONSUMER` of it.
        parent: what `carrier` gave where the work comes from; the current span by default.
    """
    tracer = _tracer(settings.OTEL_EXPORTER_OTLP_ENDPOINT, os.getpid()) if is_on() else None
    if tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind

    with tracer.start_as_current_span(
        name,
        context=_extract(parent or {}),
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
    """Add attributes to the current span, and give it another name if one is given."""
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
    """Return what makes the current span the parent of work in another process; nothing without one."""
    found: dict[str, str] = {}
    if is_on():
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(found)
    return {TRACEPARENT: found[TRACEPARENT]} if TRACEPARENT in found else {}


def trace_id() -> str:
    """Return the current trace's id as 32 hexadecimal digits; nothing without one."""
    if not is_on():
        return ""
    context = _current().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def _current() -> Any:
    from opentelemetry.trace import get_current_span

    return get_current_span()


def _extract(parent: Mapping[str, Any]) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    value = parent.get(TRACEPARENT)
    # Metadata may say anything; what is no trace context begins a new trace.
    return TraceContextTextMapPropagator().extract({TRACEPARENT: value}) if isinstance(value, str) else None


@lru_cache(maxsize=1)
def _tracer(endpoint: str, pid: int) -> Any:
    """Return the tracer of this process: the thread that sends its spans does not survive a fork."""
    try:
        return _provider(endpoint).get_tracer("fleetprompt")
    except Exception as error:
        errors.say_once("traces are", error)
        return None


def _provider(endpoint: str) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import PROCESS_PID, SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider

    resource = Resource.create({PROCESS_PID: os.getpid()})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "fleetprompt"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(compat.span_processor(exporter, shutdown_seconds=LAST_WORDS))
    compat.at_process_end(provider.shutdown)
    return provider
