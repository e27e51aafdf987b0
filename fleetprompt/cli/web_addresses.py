"""Addresses that people are told to open, the port of the development server among them."""

import os
from collections.abc import Iterable

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

HOSTS_NAMED = 5


def add_port(parser: CommandParser) -> None:
    """Give a command the option `--port`; its default is what `make` passes on, too."""
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("PORT", "8000"),
        help="of the web server (default: the environment variable PORT, or else 8000)",
    )


def check_port(option: str, port: int) -> None:
    """Refuse a number that is no port with a `CommandError` that names `option`."""
    if not 1 <= port <= 65535:
        raise CommandError(f"{option}: expected a number from 1 to 65535; got {port}")


def local(host: str, port: int | str, path: str = "/") -> str:
    """Return an address on the development server, which speaks HTTP."""
    return f"http://{host}:{port}{path}"


def installed(host: str, path: str) -> str:
    """Return an address in this installation: on the development server, or else behind the proxy."""
    if settings.DEBUG:
        return local(host, os.environ.get("PORT", "8000"), path)
    return f"{'https' if settings.SECURE_SSL_REDIRECT else 'http'}://{host}{path}"


def hosts_advice(hosts: Iterable[str]) -> str:
    """Return what to do where a browser does not find names below `localhost`; empty without such names.

    Browsers answer such names themselves or ask the system, which may not know them (RFC 6761, 6.3).
    """
    names = [host for host in hosts if host.endswith(".localhost")]
    if not names:
        return ""
    more = " …" if len(names) > HOSTS_NAMED else ""
    return (
        "If the browser does not find such a name, add a line to /etc/hosts: "
        f"127.0.0.1 {' '.join(names[:HOSTS_NAMED])}{more}"
    )
