"""The directive: one stored command. Only `directives.lifecycle.transitions` changes its status."""

from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from fleetprompt.telemetry.tracing import TRACEPARENT
from signals.types import (
    ERASED,
    ID_LENGTH,
    KEY_LENGTH,
    NAME_LENGTH,
    Actor,
    ActorAndSubject,
    DisclosingModel,
    as_object,
    new_salt,
    opened,
)

LOST_SIGNALS = "lost_signals"
"""The key in a directive's metadata under which the names of signals stand that could not be written."""
RUNNERS_METADATA = frozenset({LOST_SIGNALS, TRACEPARENT})
"""The keys of a directive's metadata that the runner writes or reads; no requester may set them."""
REASON_LENGTH = 1_000
ERROR_LENGTH = 2_000
DUE, SNOOZED = "due", "snoozed"
"""What a requested directive is from its time on, and before; no column holds it."""


class Directive(ActorAndSubject, DisclosingModel, models.Model):
    """What should happen: a command with its actor, its key and the state of its execution.

    Personal texts, the reason and marked fields of the payload, are in `personal`, and commitments in the
    stored payload. A directive that was loaded has the texts in its payload, so that it must not be saved:
    `update` changes single columns.

    `attempt` counts the tries at executing it and fences them: what attempt 2 writes, attempt 1 can
    not overwrite. `queued_at` is its place in the line of its `ordering_key`; a retry keeps the
    place, a snooze or a rerun takes a new one. `claim_token` is that of the last claim: by it a
    worker whose connection was lost finds what it had claimed.
    """

    class Status(models.TextChoices):
        """The states of a directive; `docs/reference/states.md` shows the ways between them."""

        REQUESTED = "requested"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELED = "canceled"

    TERMINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=NAME_LENGTH)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.REQUESTED)
    payload = models.JSONField(default=dict)
    metadata = models.JSONField(default=dict, blank=True)
    result = models.JSONField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=KEY_LENGTH)
    actor_type = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=ID_LENGTH)
    actor_label = models.CharField(max_length=ID_LENGTH, default="", blank=True)
    subject_type = models.CharField(max_length=NAME_LENGTH, default="", blank=True)
    subject_id = models.CharField(max_length=ID_LENGTH, default="", blank=True)
    ordering_key = models.CharField(max_length=KEY_LENGTH, default="", blank=True)
    correlation_id = models.CharField(max_length=ID_LENGTH, default="", blank=True)
    causation_id = models.CharField(max_length=ID_LENGTH, default="", blank=True)
    scheduled_at = models.DateTimeField(db_default=Now())
    queued_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    # These number signals that repeat: they are changed by the transition that leaves the signal, so that
    # neither a race nor the pruning of signals can give one number twice.
    operations = models.JSONField(default=dict, db_default={}, blank=True, editable=False)
    """By signal of an operation, the attempt that it was last left in, and how often it was in that one."""
    earlier_successes = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    """How often it had succeeded before it was last rerun."""
    claim_token = models.UUIDField(null=True, editable=False)
    attempt = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=5)
    last_error = models.CharField(max_length=ERROR_LENGTH, default="", blank=True)
    last_error_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    # When its effect is to end by itself.
    expires_at = models.DateTimeField(null=True, blank=True)
    # When it was asked for last: a rerun is asked for anew.
    requested_at = models.DateTimeField(db_default=Now(), editable=False)
    member_id = models.UUIDField(null=True, blank=True, editable=False)
    """The id of the member whom it is about."""
    scope = models.CharField(max_length=ID_LENGTH, default="", db_default="", blank=True, editable=False)
    """The part of the community that it concerns; empty for the whole."""
    personal = models.JSONField(default=dict, db_default={}, null=True, blank=True, editable=False)
    """`{"reason": [salt, text], "payload": {field: [salt, value]}}`, or a part of it; NULL when erased.

    A trigger lets it become NULL and nothing else, and empties `last_error` with it."""
    personal_part = "payload"
    personal_digest = models.CharField(max_length=64, default="", db_default="", blank=True, editable=False)
    """Keyed digest of the payload's marked fields, to compare requests when those were erased; or empty."""

    class Meta:
        ordering = ["-created_at", "-id"]
        # No user adds, changes or deletes a directive as a row; `permissions` makes those that count.
        default_permissions = ["view"]
        indexes = [
            models.Index(fields=["queued_at", "id"], name="directive_due", condition=Q(status="requested")),
            # Without the time, so that renewing a lease touches no index; few run at once.
            models.Index(fields=["id"], name="directive_running", condition=Q(status="running")),
            models.Index(
                fields=["ordering_key", "queued_at", "id"],
                name="directive_line",
                condition=Q(status__in=["requested", "running"]),
            ),
            models.Index(
                fields=["scheduled_at"], name="directive_scheduled", condition=Q(status="requested")
            ),
            models.Index(
                fields=["ordering_key", "queued_at", "id"],
                name="directive_history",
                condition=~Q(ordering_key=""),
            ),
            # What people list by, in the list's order: a page and its count read an index only.
            models.Index(fields=["-created_at", "-id"], name="directive_created"),
            models.Index(fields=["status", "-created_at", "-id"], name="directive_by_status"),
            models.Index(fields=["name", "-created_at", "-id"], name="directive_by_name"),
            models.Index(
                fields=["actor_type", "actor_id", "-created_at", "-id"], name="directive_by_actor"
            ),
            models.Index(
                fields=["subject_type", "subject_id", "-created_at", "-id"], name="directive_by_subject"
            ),
            models.Index(fields=["correlation_id", "-created_at", "-id"], name="directive_by_batch"),
            models.Index(
                fields=["causation_id", "-created_at", "-id"],
                name="directive_by_cause",
                condition=~Q(causation_id=""),
            ),
            models.Index(
                fields=["status", "completed_at"],
                name="directive_completed",
                condition=Q(completed_at__isnull=False),
            ),
        ]
        constraints = [
            # One index finds a key and the beginning of one; `unique=True` would make two.
            models.UniqueConstraint(
                fields=["idempotency_key"], opclasses=["varchar_pattern_ops"], name="directive_key"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["requested", "running", "succeeded", "failed", "canceled"]),
                name="directive_status_known",
            ),
            models.CheckConstraint(condition=Q(actor_type__in=Actor.TYPES), name="directive_actor_type"),
            models.CheckConstraint(
                condition=Q(status="running", lease_expires_at__isnull=False)
                | (~Q(status="running") & Q(lease_expires_at__isnull=True)),
                name="directive_lease_while_running",
            ),
            models.CheckConstraint(
                condition=Q(attempt__lte=models.F("max_attempts")), name="directive_attempts"
            ),
            models.UniqueConstraint(
                fields=["ordering_key"],
                condition=Q(status="running") & ~Q(ordering_key=""),
                name="directive_one_running",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"

    @property
    def reason(self) -> str:
        """Why it was asked for, for people; empty without a reason, `ERASED` when that is gone."""
        if self.personal is None:
            return ERASED
        return str(opened(self.personal, "reason", ""))

    @reason.setter
    def reason(self, text: str) -> None:
        others = {key: value for key, value in (self.personal or {}).items() if key != "reason"}
        self.personal = others | ({"reason": [new_salt(), text]} if text else {})

    @property
    def lost_signals(self) -> list[Any]:
        """The names of signals that could not be written, unless something else was written there."""
        names = as_object(self.metadata).get(LOST_SIGNALS)
        return names if isinstance(names, list) else []


class Restriction(ActorAndSubject, models.Model):
    """What keeps a subject hidden, locked and so on: set by one directive, ended by another.

    It is active until it has an `ended_at`. `directives.restrictions` inserts and ends it, and
    writes what follows from it on the subject in the same transaction.

    Args:
        name: of the directive that set it, such as `forum.post.hide`.
        requested_at: when that directive was requested: what lifts restrictions ends earlier ones only.
        until: when it is to end by itself; null when it is to stay.
        ended_by: the directive that ended it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    subject_type = models.CharField(max_length=NAME_LENGTH)
    subject_id = models.CharField(max_length=ID_LENGTH)
    kind = models.CharField(max_length=50)
    name = models.CharField(max_length=NAME_LENGTH)
    directive_id = models.UUIDField()
    actor_type = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=ID_LENGTH)
    actor_label = models.CharField(max_length=ID_LENGTH, default="", blank=True)
    requested_at = models.DateTimeField()
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.UUIDField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["subject_type", "subject_id", "kind", "actor_type", "actor_id"],
                condition=Q(ended_at__isnull=True),
                name="restriction_active",
            ),
            models.CheckConstraint(condition=Q(actor_type__in=Actor.TYPES), name="restriction_actor_type"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_by__isnull=True)
                | Q(ended_at__isnull=False, ended_by__isnull=False),
                name="restriction_ended_by",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_type}:{self.subject_id}"


def in_state(state: str) -> Q:
    """Return which directives are in a state: a status, or `due` or `snoozed`, which part the requested."""
    if state not in (DUE, SNOOZED):
        return Q(status=state)
    requested = Q(status=Directive.Status.REQUESTED)
    return requested & (Q(scheduled_at__gt=Now()) if state == SNOOZED else Q(scheduled_at__lte=Now()))
