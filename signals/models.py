"""The signal: one append-only fact. Rows come in through `signals.bus` only."""

from django.db import models
from uuid_utils.compat import uuid7

from fleetprompt.postgres.queries import ClockTimestamp
from signals.audit.models import Pruning, Seal, SealEntry
from signals.storage.append_only import AppendOnlyError, AppendOnlyModel, AppendOnlyQuerySet
from signals.types import ID_LENGTH, KEY_LENGTH, NAME_LENGTH, Actor, ActorAndSubject

__all__ = ["AppendOnlyError", "Pruning", "Seal", "SealEntry", "Signal"]


class SignalQuerySet(AppendOnlyQuerySet["Signal"]):
    """Reads signals."""


class Signal(ActorAndSubject, AppendOnlyModel):
    """What did happen: name, payload, actor, subject, when it occurred and when it was recorded."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=NAME_LENGTH)
    dedupe_key = models.CharField(max_length=KEY_LENGTH)
    payload = models.JSONField(default=dict)
    metadata = models.JSONField(default=dict)
    occurred_at = models.DateTimeField(db_default=ClockTimestamp())
    # The moment of the insert itself: sealing relies on it (`signals.audit.sealing.horizon`).
    recorded_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)
    actor_type = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=ID_LENGTH)
    actor_label = models.CharField(max_length=ID_LENGTH, default="")
    subject_type = models.CharField(max_length=NAME_LENGTH, default="")
    subject_id = models.CharField(max_length=ID_LENGTH, default="")
    source = models.CharField(max_length=NAME_LENGTH, default="")
    correlation_id = models.CharField(max_length=ID_LENGTH, default="")
    causation_id = models.CharField(max_length=ID_LENGTH, default="")

    objects = SignalQuerySet.as_manager()

    class Meta:
        # A UUIDv7 of one process sorts by time of making, also within a millisecond.
        ordering = ["recorded_at", "id"]
        default_permissions = ["view"]
        permissions = [("export_signal", "Can export signals")]
        indexes = [
            models.Index(fields=["subject_type", "subject_id", "recorded_at"], name="signal_subject"),
            models.Index(fields=["causation_id", "recorded_at"], name="signal_causation"),
            models.Index(fields=["correlation_id", "recorded_at"], name="signal_correlation"),
            models.Index(fields=["name", "recorded_at", "id"], name="signal_name_order"),
            # With the id, since all signals of one statement have one time.
            models.Index(fields=["actor_type", "actor_id", "recorded_at", "id"], name="signal_actor_order"),
            models.Index(fields=["recorded_at", "id"], name="signal_order"),
        ]
        constraints = [
            # One index finds a key and the beginning of one; `unique=True` would make two.
            models.UniqueConstraint(
                fields=["dedupe_key"], opclasses=["varchar_pattern_ops"], name="signal_key"
            ),
            models.CheckConstraint(
                condition=models.Q(actor_type__in=Actor.TYPES), name="signal_actor_type"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.subject_type}:{self.subject_id}"
