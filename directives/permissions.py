"""Who may request what: one permission per directive type, made from the registry on migrate."""

from typing import Any

from django.apps import AppConfig
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType

from directives import registry
from directives.errors import PermissionRefused
from directives.models import Directive
from fleetprompt.tenants.context import is_public
from signals.types import Actor


def create(sender: AppConfig, using: str = "default", **kwargs: Any) -> None:
    """Make the permissions of all directive types that the migrated tenant lacks (on `post_migrate`)."""
    if is_public():
        return
    content_type = ContentType.objects.db_manager(using).get_for_model(Directive)
    Permission.objects.using(using).bulk_create(
        [
            Permission(
                content_type=content_type,
                codename=handler.permission_codename,
                name=f"Can request: {handler.label}"[:255],
            )
            for handler in registry.handlers()
        ],
        ignore_conflicts=True,
    )


def check(actor: Actor, permission: str, action: str) -> None:
    """Check that `actor` may do `action`. Agents and the system may; a user needs `permission`.

    Args:
        permission: as Django writes it, `app_label.codename`.
        action: what the error says the user may not do.

    Raises:
        PermissionRefused: the user does not exist in this tenant, is inactive, or lacks it.
    """
    if actor.type != "user":
        return
    users = get_user_model()
    user = users.objects.filter(pk=actor.id).first() if actor.id.isdecimal() else None
    if user is None or not user.is_active:
        raise PermissionRefused(f"actor: this tenant has no active user {actor.id!r}")
    if not user.has_perm(permission):
        raise PermissionRefused(f"actor: {actor} may not {action}; it needs {permission}")
