"""Users of a tenant or of the operators, logged in with real sessions."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from fleetprompt.tenants.context import in_tenant, return_to_public
from tests.recipes import accounts

PASSWORD = "a password for tests"
OPERATORS = "localhost"


def host_of(site: str) -> str:
    """Return the host name of a tenant, by its slug, or of the operators, by an empty text."""
    return f"{site}.localhost" if site else OPERATORS


def within(site: str) -> AbstractContextManager[Any]:
    """Enter a tenant, or the public schema, whatever schema a request has left active."""
    return_to_public()
    return in_tenant(site) if site else nullcontext()


def make_user(
    site: str,
    username: str = "una",
    *,
    may: Iterable[str] = (),
    groups: Iterable[str] = (),
    **fields: Any,
) -> User:
    """Make a user of a site, staff unless told otherwise, with permissions by codename."""
    with within(site):
        user = accounts.with_password(accounts.staff, PASSWORD, username=username, **fields)
        wanted = list(may)
        found = Permission.objects.filter(codename__in=wanted)
        assert {permission.codename for permission in found} == set(wanted)
        user.user_permissions.set(found)
        user.groups.set(Group.objects.filter(name__in=groups))
    return user


def logged_in(site: str, user: User) -> Client:
    """Return a browser in which the user is logged in on the site; other hosts get its cookie too."""
    client = Client()
    with within(site):
        client.force_login(user)
    return client
