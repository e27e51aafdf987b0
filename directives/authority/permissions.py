"""Permissions to request, snooze, cancel and rerun directives of a name, and to view records.

Each directive type has one permission per action; `roles` makes them on migrate.
"""

import hashlib
import logging
from typing import Any, NoReturn

from django.contrib.auth import get_user_model
from django.db.models import Model

from directives.errors import PermissionRefused
from directives.models import Directive
from fleetprompt.postgres.primary_keys import primary_key
from fleetprompt.tenants.context import active_tenant
from signals.types import Actor
from signals.types import actor_of as actor_of

logger = logging.getLogger(__name__)

ACTIONS = ("request", "snooze", "cancel", "rerun")
"""What a permission can allow; running one now needs `snooze`, since both move its time."""

_CODENAME_LENGTH = 100  # characters, of Django's column


def codename(action: str, name: str) -> str:
    """Return the name in the database, at most 100 characters, of the permission to do an action.

    Args:
        action: one of `ACTIONS`.
        name: the directive's name, known here or not.
    """
    full = f"{action}_{name}"
    if len(full) <= _CODENAME_LENGTH:
        return full
    return f"{full[:83]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def permission(action: str, name: str) -> str:
    """Return the permission to do an action, as Django writes it: `app_label.codename`."""
    return f"{Directive._meta.app_label}.{codename(action, name)}"


def allows(user: Any, action: str, name: str) -> bool:
    """Return whether a user of the active tenant may do an action on directives of a name."""
    return bool(user.is_active and user.has_perm(permission(action, name)))


def may_view(user: Any, model: type[Model]) -> bool:
    """Return whether a user of the active tenant may see records of a model."""
    return bool(user.has_perm(view_permission(model)))


def view_permission(model: type[Model]) -> str:
    """Return the permission to see records of a model, as Django writes it."""
    return f"{model._meta.app_label}.view_{model._meta.model_name}"


def check(actor: Actor, action: str, name: str) -> None:
    """Check that `actor` may do `action` on directives named `name`. Agents and the system may.

    Args:
        action: one of `ACTIONS`.

    Raises:
        PermissionRefused: the user does not exist in this tenant, is inactive, or lacks the permission.
    """
    if actor.type != "user":
        return
    users = get_user_model()
    key = primary_key(users, actor.id)
    user = users.objects.filter(pk=key).first() if key is not None else None
    if user is None or not user.is_active:
        raise PermissionRefused(f"actor: this tenant has no active user {actor.id!r}")
    if not allows(user, action, name):
        needed = permission(action, name)
        raise PermissionRefused(f"actor: {actor} may not {action} {name}; it needs {needed}")


def require(user: Any, action: str, name: str) -> None:
    """Check that a logged-in user may do an action on directives of a name.

    Raises:
        PermissionRefused: the user may not; it is logged, and answered with 403.
    """
    if not allows(user, action, name):
        refuse(user, f"{action} {name}", permission(action, name))


def require_view(user: Any, model: type[Model]) -> None:
    """Check that a logged-in user may see records of a model; raises what `require` raises."""
    if not may_view(user, model):
        refuse(user, f"see {model._meta.verbose_name_plural}", view_permission(model))


def refuse(user: Any, what: str, needed: str) -> NoReturn:
    """Refuse what a logged-in user wanted to do, and log it; no signal is left.

    Args:
        what: what they may not do.
        needed: the permission that it needs.

    Raises:
        PermissionRefused: always.
    """
    tenant = active_tenant().slug
    logger.warning("refused in tenant %s: user %s (%s) may not %s", tenant, user.pk, user, what)
    raise PermissionRefused(f"You may not {what}: it needs the permission {needed}.")
