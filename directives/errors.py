"""Errors of directives: for handlers to raise, for requesters and operators, and for the runner."""

from collections.abc import Sequence
from uuid import UUID

from django.core.exceptions import PermissionDenied

from fleetprompt.errors import Refused as Refused

MAX_WAIT_SECONDS = 365 * 24 * 3600


class DirectiveError(Exception):
    """Raised by a handler for what can never work: the directive ends `failed` without a retry."""

    quoted: Sequence[UUID] = ()
    """Directives about the same subject whose reasons the message quotes."""


class Retry(Exception):
    """Raised by a handler for what may work later.

    Args:
        message: why it did not work this time.
        after: seconds to wait instead of the handler's own backoff, at most a year.

    Raises:
        ValueError: a wait that makes no sense.
    """

    # For a subclass that does not call `__init__`.
    after: float | None = None

    def __init__(self, message: str, *, after: float | None = None) -> None:
        if after is not None and not 0 <= after <= MAX_WAIT_SECONDS:
            raise ValueError(f"after: expected 0 to {MAX_WAIT_SECONDS} seconds; got {after}")
        super().__init__(message)
        self.after = after


class UnknownDirective(Refused):
    """No handler has that name."""


class InvalidPayload(Refused):
    """The payload, or another argument of the request, is not what the handler expects."""


class SecretRefused(InvalidPayload):
    """Something in the request looks like a secret; it would be readable for years."""


class PermissionRefused(Refused, PermissionDenied):
    """The user may not do this."""


class KeyConflict(Refused):
    """The idempotency key belongs to a directive with another name or payload."""


class DirectiveNotFound(Refused):
    """The active tenant has no directive with that id."""


class IllegalTransition(Refused):
    """The directive's status does not allow it."""


class StaleAttempt(Exception):
    """The attempt is not the directive's current one any more; its work must be rolled back."""
