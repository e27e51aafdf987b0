"""What the admin refuses: said to the person with 403, and to the log; nothing else remains of it."""

import logging
from typing import NoReturn

from django.http import HttpRequest

from directives.authority import permissions
from directives.errors import PermissionRefused
from fleetprompt.tenants.context import active_tenant

logger = logging.getLogger(__name__)


def require(request: HttpRequest, action: str, name: str) -> None:
    """Check that the user of the request may do an action on directives of a name.

    Raises:
        PermissionRefused: the user may not; it is logged, and answered with 403.
    """
    if not permissions.allows(request.user, action, name):
        refuse(request, f"{action} {name}", permissions.permission(action, name))


def refuse(request: HttpRequest, what: str, needed: str) -> NoReturn:
    """Refuse what the user of the request wanted to do.

    Args:
        what: what they may not do.
        needed: the permission that it needs.

    Raises:
        PermissionRefused: always.
    """
    user, tenant = request.user, active_tenant().slug
    logger.warning("refused in tenant %s: user %s (%s) may not %s", tenant, user.pk, user, what)
    raise PermissionRefused(f"You may not {what}: it needs the permission {needed}.")
