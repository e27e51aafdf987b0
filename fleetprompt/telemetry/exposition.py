"""Metrics of this machine for Prometheus, and the authorisation of readers."""

import hmac
import ipaddress
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.conf import settings
from django.db import connection
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import ThreadingWSGIServer, choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from fleetprompt.telemetry import errors
from fleetprompt.telemetry.folder import files, fold, locked

PATH = "/metrics"

Source = Callable[[], Iterable[Metric]]
_sources: list[Source] = []


def add_source(source: Source) -> None:
    """Add metrics that are read from the database at each scrape.

    The source reads a bounded number of rows and has a bounded number of label values.
    """
    if source not in _sources:
        _sources.append(source)


def render(accept: str = "") -> tuple[bytes, str]:
    """Return the metrics of all processes of this machine and of all sources, and their content type.

    Args:
        accept: the request's header, which chooses between Prometheus' and OpenMetrics' text.
    """
    registry = CollectorRegistry()
    for source in (_counted, *_sources):
        registry.register(_Read(source))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def refusal(environ: Mapping[str, Any], *, trusts_peers: bool) -> int:
    """Return the HTTP status that refuses a reader of the metrics; 0 for an authorised one.

    With `METRICS_TOKEN` a reader needs it as a bearer token (RFC 6750), on any machine. Without it,
    readers on this machine are authorised.

    Args:
        environ: the request's WSGI environment.
        trusts_peers: whether the peer is the reader; behind a proxy it is not.
    """
    if token := settings.METRICS_TOKEN:
        given = str(environ.get("HTTP_AUTHORIZATION", "")).encode("latin-1", "replace")
        return 0 if hmac.compare_digest(given, f"Bearer {token}".encode()) else 401
    return 0 if trusts_peers and is_loopback(str(environ.get("REMOTE_ADDR", ""))) else 404


def is_loopback(address: str) -> bool:
    """Return whether an IP address is this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def serve(host: str, port: int) -> None:
    """Serve the metrics from a thread of this process, for machines without a web server.

    Raises:
        OSError: the address cannot be used.
    """
    server = make_server(host, port, _application, ThreadingWSGIServer, _Handler)
    threading.Thread(target=server.serve_forever, daemon=True, name="metrics").start()


def _application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    status = refusal(environ, trusts_peers=True) if environ["PATH_INFO"] == PATH else 404
    if status:
        said = {401: "401 Unauthorized", 404: "404 Not Found"}[status]
        challenge = [("WWW-Authenticate", "Bearer")] if status == 401 else []
        start_response(said, [("Content-Type", "text/plain"), *challenge])
        return [f"{said}\n".encode()]
    try:
        body, content_type = render(environ.get("HTTP_ACCEPT", ""))
    finally:
        # Each scrape has a thread of its own, with a connection of its own.
        connection.close()
    start_response("200 OK", [("Content-Type", content_type)])
    return [body]


def _counted() -> Iterable[Metric]:
    folder = Path(settings.METRICS_FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        try:
            fold(folder)
        except OSError as error:
            errors.say_once("metrics: adding up the files of processes that are gone is", error)
        return list(MultiProcessCollector.merge([str(path) for path in files(folder)]))


class _Read(Collector):
    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterable[Metric]:
        try:
            return list(self._source())
        except Exception as error:
            errors.say_once(f"metrics: {self._source.__module__} is", error)
            return []


class _Handler(WSGIRequestHandler):
    timeout = 30  # seconds for a request

    def log_message(self, *_args: Any) -> None:
        """Log nothing: there is a scrape every few seconds."""
