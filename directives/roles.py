"""What every tenant has from the start: a permission per directive type and action, and two groups."""

from collections.abc import Iterable
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q, QuerySet

from directives import permissions, registry, subjects
from directives.models import Directive
from fleetprompt.tenants.context import is_public
from signals.models import Signal

MODERATOR = "Moderator"
"""Requests and snoozes the directives whose handlers say `for_moderators`; reruns and cancels none."""
AUDITOR = "Auditor"
"""Sees everything in its tenant, may export signals, and changes nothing."""

_MODERATING = ("request", "snooze")


def create_permissions(sender: AppConfig, using: str = "default", **kwargs: Any) -> None:
    """Make the permissions that the migrated tenant lacks (on `post_migrate`).

    Moderators, if there are any yet, get those of new directive types.
    """
    if is_public():
        return
    meta = Directive._meta
    # Not `get_for_model`: what it remembers may be of another schema, where ids differ.
    content_type, _ = ContentType.objects.using(using).get_or_create(
        app_label=meta.app_label, model=meta.model_name
    )
    known = set(
        Permission.objects.using(using).filter(content_type=content_type).values_list("codename", flat=True)
    )
    missing = [
        Permission(
            content_type=content_type,
            codename=permissions.codename(action, handler.name),
            name=f"Can {action}: {handler.label}"[:255],
        )
        for handler in registry.handlers()
        for action in permissions.ACTIONS
        if permissions.codename(action, handler.name) not in known
    ]
    if missing:
        Permission.objects.using(using).bulk_create(missing, ignore_conflicts=True)
        _grant_new(using, {made.codename for made in missing})


def create_groups(sender: AppConfig, using: str = "default", **kwargs: Any) -> None:
    """Make the groups that the migrated tenant lacks (on `post_migrate`).

    A moderator's permissions are handed out once, so that a community may take some away.
    An auditor always sees everything.
    """
    if is_public():
        return
    group, is_new = Group.objects.using(using).get_or_create(name=MODERATOR)
    if is_new:
        group.permissions.add(
            *_of_directives(using, _moderating()),
            *_views(using, [Directive, Signal, *subjects.types().values()]),
        )
    group, _ = Group.objects.using(using).get_or_create(name=AUDITOR)
    exporting = Permission.objects.using(using).filter(codename="export_signal")
    group.permissions.add(*_views(using, _tenant_models()), *exporting)


def _grant_new(using: str, codenames: set[str]) -> None:
    group = Group.objects.using(using).filter(name=MODERATOR).first()
    wanted = _moderating() & codenames
    if group and wanted:
        group.permissions.add(*_of_directives(using, wanted))


def _moderating() -> set[str]:
    return {
        permissions.codename(action, handler.name)
        for handler in registry.handlers()
        for action in _MODERATING
        if handler.for_moderators
    }


def _of_directives(using: str, codenames: set[str]) -> QuerySet[Permission]:
    label = Directive._meta.app_label
    return Permission.objects.using(using).filter(content_type__app_label=label, codename__in=codenames)


def _views(using: str, models: Iterable[type[Model]]) -> QuerySet[Permission]:
    wanted = Q()
    for model in models:
        meta: Any = model._meta
        wanted |= Q(content_type__app_label=meta.app_label, codename=f"view_{meta.model_name}")
    return Permission.objects.using(using).filter(wanted)


def _tenant_models() -> list[type[Model]]:
    return [
        model
        for config in apps.get_app_configs()
        if config.name in settings.TENANT_APPS
        for model in config.get_models()
    ]
