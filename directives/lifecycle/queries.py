"""Queries by status: what is due, whose lease has expired, what holds a directive back."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from directives import sql
from directives.models import Directive
from fleetprompt.postgres.queries import fetch_all

Status = Directive.Status

COPIED = (
    "actor_type",
    "actor_id",
    "actor_label",
    "subject_type",
    "subject_id",
    "correlation_id",
    "member_id",
)
"""The columns of a directive that its lifecycle signals have, too."""


def due() -> QuerySet[Directive]:
    """Return the requested directives that may start now, in the order of their places.

    A request that is not committed yet has no place: a later one passes it. One with an ordering key waits
    for whatever runs under its key and for all that stand before it.
    """
    return Directive.objects.filter(
        Q(ordering_key="") | ~Exists(ahead_in_line(OuterRef)),
        status=Status.REQUESTED,
        scheduled_at__lte=Now(),
    ).order_by("queued_at", "id")


def stalled() -> QuerySet[Directive]:
    """Return the running directives whose lease has expired, the earliest expired first."""
    return Directive.objects.filter(status=Status.RUNNING, lease_expires_at__lte=Now()).order_by(
        "lease_expires_at", "id"
    )


def ahead_in_line(reference: Any) -> QuerySet[Directive]:
    """Return what holds a directive back: what runs under its ordering key, and what stands before it.

    `reference` gives the directive's field by name, as `OuterRef` does.
    """
    before = Q(queued_at__lt=reference("queued_at")) | Q(
        queued_at=reference("queued_at"), id__lt=reference("id")
    )
    return (
        Directive.objects.filter(ordering_key=reference("ordering_key"))
        .exclude(pk=reference("pk"))
        .filter(Q(status=Status.RUNNING) | (Q(status=Status.REQUESTED) & before))
    )


def keep_texts(ids: Iterable[UUID]) -> set[UUID]:
    """Have erasing wait for the end of the transaction, which copies texts of directives.

    Returns:
        the ids of those that are not erased.
    """
    return {pk for (pk,) in fetch_all(sql.KEEP_TEXTS, list(ids))}


def tenant_status() -> str:
    """Return the active tenant's status as it is now; "deleted" when its schema is gone."""
    found = fetch_all(sql.TENANT_STATUS)
    return found[0][0] if found else "deleted"
