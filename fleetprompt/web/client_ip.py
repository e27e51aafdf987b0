"""Client address of a request, from trusted sources only."""

from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

from django.conf import settings
from django.http import HttpRequest

_IPV6_NETWORK_BITS = 64


def client_ip(request: HttpRequest) -> str | None:
    """Return the address of the client; of an IPv6 address the /64, which is one customer's (RFC 6177).

    Without trusted proxies it is the peer of the connection. Behind N proxies it is the entry of the
    outermost one: the Nth of `X-Forwarded-For` from the right.

    Returns:
        None when there is no address, such as behind a Unix socket.
    """
    peer = request.META.get("REMOTE_ADDR", "")
    proxies = settings.TRUSTED_PROXY_COUNT
    entries = [entry.strip() for entry in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    if proxies and len(entries) >= proxies:
        peer = entries[-proxies]
    return _network(peer)


def described(username: str | None, ip_address: str | None, *_others: Any) -> str:
    """Return user name and address for a log line; the name is untrusted input."""
    return f"{username or '':.150}".encode("unicode_escape").decode() + f" from {ip_address}"


def _network(text: str) -> str | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(IPv6Network((int(found), _IPV6_NETWORK_BITS), strict=False).network_address)
    return str(getattr(found, "ipv4_mapped", found))
