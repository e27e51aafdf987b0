"""Append-only rows: signals, the seals over them, and the records of prunings.

Signals come in through `signals.bus` only.
"""

from django.db import models
from uuid_utils.compat import uuid7

from fleetprompt.postgres.queries import ClockTimestamp
from signals.storage.append_only import AppendOnlyModel
from signals.types import ID_LENGTH, KEY_LENGTH, NAME_LENGTH, Actor, ActorAndSubject, DisclosingModel

HASH_DIGITS = 64
"""Hexadecimal digits of a SHA-256."""
SIGNATURE_DIGITS = 88
"""Base64 digits of an Ed25519 signature."""


class Signal(ActorAndSubject, DisclosingModel, AppendOnlyModel):
    """One append-only fact: name, payload, actor, subject, when it occurred and when it was recorded.

    A seal covers every column but `personal`, in the form of `signals.audit.format.events`.
    """

    erasable = ("personal",)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=NAME_LENGTH)
    dedupe_key = models.CharField(max_length=KEY_LENGTH)
    payload = models.JSONField(default=dict)
    metadata = models.JSONField(default=dict)
    occurred_at = models.DateTimeField(db_default=ClockTimestamp())
    # The clock at the insert itself: sealing relies on it (`signals.audit.sealing.horizon`).
    recorded_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)
    actor_type = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=ID_LENGTH)
    actor_label = models.CharField(max_length=ID_LENGTH, default="")
    subject_type = models.CharField(max_length=NAME_LENGTH, default="")
    subject_id = models.CharField(max_length=ID_LENGTH, default="")
    source = models.CharField(max_length=NAME_LENGTH, default="")
    correlation_id = models.CharField(max_length=ID_LENGTH, default="")
    causation_id = models.CharField(max_length=ID_LENGTH, default="")
    member_id = models.UUIDField(null=True)
    """The id of the member whom it is about."""
    personal = models.JSONField(null=True)
    """Salts and values of the payload's commitments (`signals.types`); NULL without any, or erased."""

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


class _Signed(AppendOnlyModel):
    """A signed row: the signature covers its head, which names the row before."""

    number = models.PositiveIntegerField(primary_key=True)
    previous = models.CharField(max_length=HASH_DIGITS)
    key = models.CharField(max_length=HASH_DIGITS)
    signature = models.CharField(max_length=SIGNATURE_DIGITS)

    class Meta:
        abstract = True
        ordering = ["number"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.number}"


class Seal(_Signed):
    """A signed Merkle root over a batch of signals, chained to the seal before it.

    Every signal recorded before `horizon` is in this seal or an earlier one.
    """

    root = models.CharField(max_length=HASH_DIGITS)
    size = models.PositiveIntegerField()
    horizon = models.DateTimeField()
    sealed_at = models.DateTimeField()


class SealEntry(AppendOnlyModel):
    """One leaf of a seal's tree: the id of a signal, its place, and its hash when it was sealed."""

    # No foreign key: an entry outlives a signal that was removed, and so the removal is noticed.
    signal_id = models.UUIDField(primary_key=True)
    seal = models.PositiveIntegerField()
    index = models.PositiveIntegerField()
    leaf = models.BinaryField(max_length=32)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["seal", "index"], name="sealentry_place")]

    def __str__(self) -> str:
        return f"seal {self.seal}, place {self.index}: {self.signal_id}"


class Pruning(_Signed):
    """A signed record that the signals of all seals up to `last_seal` were removed because of their age.

    A trigger permits exactly these deletions, and only in the transaction that inserts the record.
    """

    last_seal = models.PositiveIntegerField()
    last_hash = models.CharField(max_length=HASH_DIGITS)
    signals = models.PositiveBigIntegerField()
    before = models.DateTimeField()
    pruned_at = models.DateTimeField()
    transaction = models.BigIntegerField()
