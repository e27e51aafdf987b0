"""Lockout of a user name at an address after too many wrong passwords."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from axes.handlers.cache import AxesCacheHandler
from axes.signals import user_locked_out
from django.conf import settings
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from fleetprompt.postgres.advisory_locks import lock_in_transaction
from fleetprompt.tenants.context import active_schema
from fleetprompt.web.client_ip import described

logger = logging.getLogger(__name__)


@contextmanager
def _alone() -> Iterator[None]:
    with transaction.atomic():
        lock_in_transaction(f"{active_schema()}.log-in")
        yield


class LockoutHandler(AxesCacheHandler):
    """Counts wrong passwords in the cache, whose keys carry the schema: each site counts for itself.

    The cache increments in two steps. A lock in the database makes them one, so that concurrent attempts
    all count.
    """

    user_login_failed = _alone()(AxesCacheHandler.user_login_failed)
    user_logged_in = _alone()(AxesCacheHandler.user_logged_in)


def locked_out(request: HttpRequest, response: HttpResponse, credentials: Any) -> HttpResponse:
    """Return the page of a lockout, with 429 (RFC 6585) and `Retry-After`."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    page = render(request, "429.html", {"minutes": seconds // 60}, status=HTTPStatus.TOO_MANY_REQUESTS)
    page.headers["Retry-After"] = str(seconds)
    return page


@receiver(user_locked_out)
def _log(sender: Any, request: HttpRequest, username: str | None, ip_address: str | None, **_: Any) -> None:
    logger.warning("locked out on %s: %s", request.get_host(), described(username, ip_address))
