"""The base of every error that says what somebody asked for is not possible, and why."""

from django.core.exceptions import ValidationError


class Refused(ValidationError):
    """Nothing was changed; the text names the field or thing and what was expected."""

    def __str__(self) -> str:
        return "; ".join(self.messages)
