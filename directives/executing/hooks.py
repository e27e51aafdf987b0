"""Guards the worker from a handler: from its `on_commit` hooks, and from errors that end processes."""

import logging
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from functools import partial

from psycopg.pq import TransactionStatus

from directives.errors import DirectiveError, Retry
from directives.models import Directive
from directives.registry import AnyHandler
from fleetprompt.postgres.direct import connection
from fleetprompt.telemetry import errors
from fleetprompt.tenants.context import restore
from fleetprompt.tenants.models import Tenant
from fleetprompt.time_limit import TimeLimitExceeded, time_limit

logger = logging.getLogger(__name__)


def as_handler_error(error: BaseException) -> Exception:
    """Return what a handler's `BaseException` means for its directive."""
    if isinstance(error, CancelledError):
        return Retry(f"the handler was cancelled: {type(error).__name__}")
    if isinstance(error, SystemExit):
        return DirectiveError("the handler tried to end its worker")
    return DirectiveError(f"the handler raised {type(error).__name__}, which is no Exception")


def guard_hooks(first: int, directives: Sequence[Directive], handler: AnyHandler, tenant: Tenant) -> None:
    """Guard each `on_commit` hook of a handler, from number `first` on: the others run whatever it does."""
    connection.run_on_commit[first:] = [
        (ids, partial(_call, hook, directives, handler, tenant), False)
        for ids, hook, _ in connection.run_on_commit[first:]
    ]


def _call(
    hook: Callable[[], object], directives: Sequence[Directive], handler: AnyHandler, tenant: Tenant
) -> None:
    def say(what: str, error: BaseException | None = None) -> None:
        named = ", ".join(map(str, directives))
        logger.error("%s: an on_commit hook %s", named, what, exc_info=error)

    try:
        with time_limit(handler.timeout, as_handler_error):
            hook()
    except (Exception, TimeLimitExceeded) as error:
        say(f"fails: {errors.brief(error)}", error)
    if restore(tenant):
        say("left its tenant")
    if _is_spoilt():
        say("left the connection closed or in a transaction")
        connection.close()


def _is_spoilt() -> bool:
    """Return whether the connection is there, but not as it is after a commit; the server is not asked."""
    real = connection.connection
    return real is not None and (
        real.closed or not connection.autocommit or real.info.transaction_status != TransactionStatus.IDLE
    )
