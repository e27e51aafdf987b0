"""`manage.py createsuperuser`: Django's, with the same password rules for scripts and people."""

import os
from typing import Any

from django.contrib.auth.management.commands.createsuperuser import Command as DjangosCommand
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from fleetprompt.cli.console import OperatorCommand
from fleetprompt.tenants.management.commands.tenant import PASSWORD_VARIABLE


class Command(DjangosCommand, OperatorCommand):
    """Validates the password from the environment, which Django does not."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the superuser."""
        password = os.environ.get(PASSWORD_VARIABLE)
        if password is not None and not options["interactive"]:
            self._check(password, options)
        super().handle(*args, **options)

    def _check(self, password: str, options: dict[str, Any]) -> None:
        if not password.strip():
            raise CommandError(f"{PASSWORD_VARIABLE}: expected a password; it is blank")
        user_model: Any = self.UserModel
        known = {
            name: options[name] or os.environ.get(f"DJANGO_SUPERUSER_{name.upper()}", "")
            for name in (user_model.USERNAME_FIELD, *user_model.REQUIRED_FIELDS)
        }
        try:
            validate_password(password, user_model(**known))
        except ValidationError as error:
            raise CommandError(f"{PASSWORD_VARIABLE}: {' '.join(error.messages)}") from None
