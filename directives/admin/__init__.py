"""The admin pages of directives, and what other apps build theirs with."""

from directives.admin import listing as listing
