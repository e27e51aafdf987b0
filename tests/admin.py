"""What tests of the admin share: people, and clients that are logged in as them on a tenant's host."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from fleetprompt.tenants.context import in_tenant, return_to_public

PASSWORD = "correct-horse-7"


def person(
    username: str,
    *,
    tenant: str = "alpha",
    group: str = "",
    superuser: bool = False,
    staff: bool = True,
    permissions: Iterable[str] = (),
) -> User:
    """Make a user of a tenant, in one of its ready-made groups, or with single permissions."""
    with in_tenant(tenant):
        user = User.objects.create_user(username, password=PASSWORD, is_staff=staff, is_superuser=superuser)
        if group:
            user.groups.add(Group.objects.get(name=group))
        user.user_permissions.add(*Permission.objects.filter(codename__in=list(permissions)))
        return user


class AdminClient(Client):
    """A browser without a screen on one host."""

    def __init__(self, tenant: str = "alpha") -> None:
        super().__init__(headers={"host": f"{tenant}.localhost"})

    def request(self, **request: Any) -> Any:
        """Send a request as usual, and leave the tenant that it was answered in."""
        try:
            return super().request(**request)
        finally:
            return_to_public()

    def log_in(self, user: User) -> "AdminClient":
        """Log in through the form; fail when it is refused."""
        answer = self.post("/admin/login/", {"username": user.username, "password": PASSWORD})
        assert answer.status_code == 302, answer.content.decode()
        return self

    def text(self, path: str, *, status: int = 200, **data: Any) -> str:
        """Return the page at a path below `/admin/`."""
        answer = self.get(f"/admin/{path}", data)
        assert answer.status_code == status, (path, answer.status_code)
        return answer.content.decode()


def client_of(username: str, tenant: str = "alpha", **options: Any) -> AdminClient:
    """Make a person and return a client that is logged in as them; options are those of `person`."""
    return AdminClient(tenant).log_in(person(username, tenant=tenant, **options))
