"""Who acts in the demo: a moderator with an account and permissions in each tenant, and agents."""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db.models import Q

from signals.types import Actor

SENTRY = Actor("agent", "spam-sentry", "Spam sentry")
HELPER = Actor("agent", "forum-helper", "Forum helper")


def moderator() -> Actor:
    """Return the active tenant's moderator Mira, made if she is missing; nobody can log in as her."""
    users = get_user_model()
    user, created = users.objects.get_or_create(
        username="mira", defaults={"first_name": "Mira", "last_name": "Okafor"}
    )
    if created:
        user.set_unusable_password()
        user.save()
    user.user_permissions.add(*_moderation())
    return Actor("user", str(user.pk), user.get_full_name() or user.get_username())


def _moderation() -> list[Permission]:
    codenames = Q(codename__startswith="request_forum.") | Q(
        codename__in=["snooze_directive", "cancel_directive", "rerun_directive"]
    )
    return list(Permission.objects.filter(codenames, content_type__app_label="directives"))
