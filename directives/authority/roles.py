"""Permissions and groups that every tenant has: one per directive type and action, and two groups."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth import get_permission_codename
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q, QuerySet

from directives import registry
from directives.authority import permissions
from directives.models import Directive
from directives.registry import AnyHandler
from fleetprompt.tenants.context import is_public
from fleetprompt.tenants.schemas import read_each
from signals.models import Signal

MODERATOR = "Moderator"
"""Requests and snoozes the directives whose handlers say `for_moderators`; reruns and cancels none."""
AUDITOR = "Auditor"
"""Views everything in its tenant, may export signals, and changes nothing."""

_MODERATING = ("request", "snooze")

_TABLES = ("django_content_type", "auth_permission", "auth_group", "auth_group_permissions")
_HELD = f"""
SELECT concat_ws('.', app_label, model) AS what FROM {{schema}}.django_content_type
 UNION ALL
SELECT concat_ws('.', app_label, model, codename)
  FROM {{schema}}.auth_permission p JOIN {{schema}}.django_content_type c ON c.id = p.content_type_id
 UNION ALL
SELECT name FROM {{schema}}.auth_group WHERE name IN ('{MODERATOR}', '{AUDITOR}')
 UNION ALL
SELECT concat_ws('.', '{AUDITOR}', app_label, model, codename)
  FROM {{schema}}.auth_group g JOIN {{schema}}.auth_group_permissions h ON h.group_id = g.id
  JOIN {{schema}}.auth_permission p ON p.id = h.permission_id
  JOIN {{schema}}.django_content_type c ON c.id = p.content_type_id
 WHERE g.name = '{AUDITOR}'
"""  # noqa: S608
_MISSING = f"SELECT what FROM unnest(%(kept)s::text[]) AS kept (what) WHERE what NOT IN ({_HELD})"  # noqa: S608


def create_permissions(sender: AppConfig, **kwargs: Any) -> None:
    """Make the permissions that the migrated tenant lacks (on `post_migrate`).

    Moderators, if there are any yet, get those of new directive types.
    """
    if is_public():
        return
    meta = Directive._meta
    # Not `get_for_model`: what it remembers may be of another schema, where ids differ.
    content_type, _ = ContentType.objects.get_or_create(app_label=meta.app_label, model=meta.model_name)
    known = set(Permission.objects.filter(content_type=content_type).values_list("codename", flat=True))
    missing = [
        Permission(
            content_type=content_type, codename=codename, name=f"Can {action}: {handler.label}"[:255]
        )
        for codename, action, handler in _of_types()
        if codename not in known
    ]
    if missing:
        Permission.objects.bulk_create(missing, ignore_conflicts=True)
        if group := Group.objects.filter(name=MODERATOR).first():
            group.permissions.add(*_of_directives(_moderating() & {made.codename for made in missing}))


def create_groups(sender: AppConfig, **kwargs: Any) -> None:
    """Make the groups that the migrated tenant lacks (on `post_migrate`).

    A moderator's permissions are handed out once, so that a community may take some away.
    An auditor always sees everything.
    """
    if is_public():
        return
    group, is_new = Group.objects.get_or_create(name=MODERATOR)
    if is_new:
        group.permissions.add(
            *_of_directives(_moderating()),
            *_views([Directive, Signal, *registry.subject_models().values()]),
        )
    group, _ = Group.objects.get_or_create(name=AUDITOR)
    exporting = Permission.objects.filter(codename="export_signal")
    group.permissions.add(*_views(_tenant_models()), *exporting)


def wanted() -> list[str]:
    """Return a text for each permission and group of a new tenant, and for each permission of a group."""
    moderators = {f"{MODERATOR}.{name}" for name in _moderating()}
    labels = [f"{handler.name}: {handler.label}" for handler in registry.handlers()]
    views = [f"{MODERATOR}.view.{model._meta.label}" for model in registry.subject_models().values()]
    return [*_kept(), *moderators, *labels, *views]


def missing(schemas: Collection[str]) -> dict[str, list[str]]:
    """Return, by schema, the permissions, groups and auditors' permissions that it lacks, if any.

    A permission is written as `app_label.model.codename`. It takes two statements per 25 schemas.
    """
    found = read_each(schemas, _TABLES, _MISSING, {"kept": list(_kept())})
    return {schema: [what for (what,) in rows] for schema, rows in found.items() if rows}


def _kept() -> set[str]:
    """Return what every tenant has as long as the code stays, as `_HELD` writes it."""
    models = [model._meta for model in apps.get_models()]
    held = {f"{Directive._meta.label_lower}.{codename}" for codename, *_ in _of_types()}
    for meta in models:
        names = [get_permission_codename(action, meta) for action in meta.default_permissions]
        held |= {f"{meta.label_lower}.{name}" for name in (*names, *dict(meta.permissions))}
    seen = {f"{m._meta.label_lower}.view_{m._meta.model_name}" for m in _tenant_models()}
    audited = {text for text in held if text in seen or text.endswith(".export_signal")}
    return {
        MODERATOR,
        AUDITOR,
        *(meta.label_lower for meta in models),
        *held,
        *(f"{AUDITOR}.{text}" for text in audited),
    }


def _of_types() -> Iterator[tuple[str, str, AnyHandler]]:
    """Yield the codename of each directive type's permissions, with its action and the type."""
    for handler in registry.handlers():
        for action in permissions.ACTIONS:
            yield permissions.codename(action, handler.name), action, handler


def _moderating() -> set[str]:
    return {
        codename
        for codename, action, handler in _of_types()
        if action in _MODERATING and handler.for_moderators
    }


def _of_directives(codenames: set[str]) -> QuerySet[Permission]:
    label = Directive._meta.app_label
    return Permission.objects.filter(content_type__app_label=label, codename__in=codenames)


def _views(models: Iterable[type[Model]]) -> QuerySet[Permission]:
    wanted = Q()
    for model in models:
        meta: Any = model._meta
        wanted |= Q(content_type__app_label=meta.app_label, codename=f"view_{meta.model_name}")
    return Permission.objects.filter(wanted)


def _tenant_models() -> list[type[Model]]:
    return [model for model in apps.get_models() if model._meta.app_config.name in settings.TENANT_APPS]
