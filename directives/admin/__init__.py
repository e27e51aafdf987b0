"""The admin pages of directives and signals, and what other apps build theirs with."""

from directives.admin import dashboard as dashboard
from directives.admin import listing as listing
from directives.admin import signals as signals
