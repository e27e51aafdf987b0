"""Clients that are logged in to a tenant's admin on its host."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from fleetprompt.tenants.context import return_to_public
from tests.accounts import PASSWORD, host_of, make_user, within


class AdminClient(Client):
    """A browser without a screen on one tenant's host."""

    def __init__(self, tenant: str = "alpha") -> None:
        super().__init__(headers={"host": host_of(tenant)})

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


def client_of(
    username: str,
    tenant: str = "alpha",
    *,
    group: str = "",
    superuser: bool = False,
    permissions: Iterable[str] = (),
) -> AdminClient:
    """Make somebody of a tenant's staff, and return a client that is logged in as them, not by the form.

    Args:
        group: one of the ready-made groups.
        permissions: single permissions, by codename.
    """
    groups = [group] if group else []
    user = make_user(tenant, username, may=permissions, groups=groups, is_superuser=superuser)
    client = AdminClient(tenant)
    with within(tenant):
        client.force_login(user)
    return client
