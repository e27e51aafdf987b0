"""Actors of the demo: people with an account in each tenant, and agents."""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from django.contrib.auth.models import Group, User

from directives.authority import permissions, roles
from signals.types import Actor

SENTRY = Actor("agent", "spam-sentry", "Spam sentry")
HELPER = Actor("agent", "forum-helper", "Forum helper")


class Person(NamedTuple):
    """An account in a tenant or at the operators' site; a superuser's when it has no group."""

    username: str
    first_name: str
    last_name: str
    role: str
    group: str | None = None

    @property
    def actor(self) -> Actor:
        """The person as an actor in the active tenant; the account is made if it is missing."""
        return permissions.actor_of(_account(self))


MIRA = Person("mira", "Mira", "Okafor", "moderator", roles.MODERATOR)
AKI = Person("aki", "Aki", "Lindgren", "auditor", roles.AUDITOR)
ADA = Person("ada", "Ada", "Marsh", "admin")
OLGA = Person("olga", "Olga", "Reyes", "operator")


def log_ins(people: Sequence[Person]) -> list[tuple[Person, str]]:
    """Give people a new random password in the active schema, which is stored as a hash only."""
    given = [(person, secrets.token_urlsafe(9)) for person in people]
    for person, password in given:
        user = _account(person)
        user.set_password(password)
        user.save()
    return given


def _account(person: Person) -> User:
    names = {"first_name": person.first_name, "last_name": person.last_name}
    powers = {"is_staff": True, "is_superuser": person.group is None}
    user, _ = User.objects.update_or_create(username=person.username, defaults=names | powers)
    if person.group:
        user.groups.add(Group.objects.get(name=person.group))
    return user
