"""App configuration of signals, the append-only records of a tenant."""

from typing import Any

from django.apps import AppConfig
from django.db import transaction
from django.db.models.signals import post_delete


class SignalsConfig(AppConfig):
    """The app, which lives in every tenant's schema."""

    name = "signals"

    def ready(self) -> None:
        """Register the checks, and put the checkpoints of deleted tenants aside."""
        from fleetprompt.tenants.models import Tenant
        from signals.audit import checks as audit_checks  # noqa: F401
        from signals.storage import checks  # noqa: F401

        post_delete.connect(_put_checkpoints_aside, sender=Tenant)


def _put_checkpoints_aside(instance: Any, **_kwargs: Any) -> None:
    from signals.audit.sealing import checkpoints
    from signals.audit.verifying import outcomes

    files = [checkpoints.path(instance), outcomes.path(instance)]
    transaction.on_commit(lambda: checkpoints.put_aside(files, "deleted"), robust=True)
