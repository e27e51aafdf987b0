"""Who may try another password: after too many wrong ones, nobody for that name from that address."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from axes.handlers.cache import AxesCacheHandler
from axes.signals import user_locked_out
from django.conf import settings
from django.db import connection, transaction
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from fleetprompt.tenants.context import active_schema
from fleetprompt.web.client_ip import described

logger = logging.getLogger(__name__)


class LockoutHandler(AxesCacheHandler):
    """Counts wrong passwords in the cache, whose keys carry the schema: each site counts for itself.

    The cache adds one in two steps. A lock in the database makes them one, so that many attempts at
    the same time all count.
    """

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
    ) -> None:
        """Count a wrong password."""
        with _alone():
            super().user_login_failed(sender, credentials, request, **kwargs)

    def user_logged_in(self, sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
        """Forget the wrong ones after a right one."""
        with _alone():
            super().user_logged_in(sender, request, user, **kwargs)


@contextmanager
def _alone() -> Iterator[None]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"{active_schema()}.log-in"])
        yield


def locked_out(request: HttpRequest, response: HttpResponse, credentials: Any) -> HttpResponse:
    """Return the page that says so, with 429 (RFC 6585) and when to come again."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    page = render(request, "429.html", {"minutes": seconds // 60}, status=HTTPStatus.TOO_MANY_REQUESTS)
    page.headers["Retry-After"] = str(seconds)
    return page


@receiver(user_locked_out)
def _log(sender: Any, request: HttpRequest, username: str | None, ip_address: str | None, **_: Any) -> None:
    logger.warning("locked out on %s: %s", request.get_host(), described(username, ip_address))
