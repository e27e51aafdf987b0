"""What the log of signals is known by: seals, what each of them covers, and what was pruned."""

from django.db import models

from signals.storage.append_only import AppendOnlyModel, AppendOnlyQuerySet

HASH_LENGTH = 64
"""Hexadecimal digits of a SHA-256."""
SIGNATURE_LENGTH = 88
"""Base64 digits of an Ed25519 signature."""


class _Signed(AppendOnlyModel):
    """A signed row: the signature covers its head, naming the row before (`signals.audit.format.heads`)."""

    number = models.PositiveIntegerField(primary_key=True)
    previous = models.CharField(max_length=HASH_LENGTH)
    key = models.CharField(max_length=HASH_LENGTH)
    signature = models.CharField(max_length=SIGNATURE_LENGTH)

    class Meta:
        abstract = True
        ordering = ["number"]
        default_permissions = ()


class SealQuerySet(AppendOnlyQuerySet["Seal"]):
    """Reads seals."""


class Seal(_Signed):
    """A signed Merkle root over a batch of signals, chained to the seal before it.

    Every signal recorded before `horizon` is in this seal or an earlier one.
    """

    root = models.CharField(max_length=HASH_LENGTH)
    size = models.PositiveIntegerField()
    horizon = models.DateTimeField()
    sealed_at = models.DateTimeField()

    objects = SealQuerySet.as_manager()

    def __str__(self) -> str:
        return f"seal {self.number}"


class SealEntryQuerySet(AppendOnlyQuerySet["SealEntry"]):
    """Reads entries of seals."""


class SealEntry(AppendOnlyModel):
    """One leaf of a seal's tree: which signal stands at which place, and its hash when it was sealed."""

    # No foreign key: an entry outlives a signal that was taken away, and that is how it is noticed.
    signal_id = models.UUIDField(primary_key=True)
    seal = models.PositiveIntegerField()
    index = models.PositiveIntegerField()
    leaf = models.BinaryField(max_length=32)

    objects = SealEntryQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["seal", "index"], name="sealentry_place")]

    def __str__(self) -> str:
        return f"seal {self.seal}, place {self.index}: {self.signal_id}"


class PruningQuerySet(AppendOnlyQuerySet["Pruning"]):
    """Reads prunings."""


class Pruning(_Signed):
    """A signed record that the signals of all seals up to `last_seal` were removed because of their age.

    A trigger lets go of exactly these, and only in the transaction that inserts the record.
    """

    last_seal = models.PositiveIntegerField()
    last_hash = models.CharField(max_length=HASH_LENGTH)
    signals = models.PositiveBigIntegerField()
    before = models.DateTimeField()
    pruned_at = models.DateTimeField()
    transaction = models.BigIntegerField()

    objects = PruningQuerySet.as_manager()

    def __str__(self) -> str:
        return f"pruning {self.number}: seals up to {self.last_seal}"
