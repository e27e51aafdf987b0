"""The list of directives: what was asked, by whom and why, and how it went."""

from django.contrib import admin

from directives.models import Directive
from fleetprompt.model_admin import ReadOnlyModelAdmin
from fleetprompt.sites import tenant_site


@admin.register(Directive, site=tenant_site)
class DirectiveAdmin(ReadOnlyModelAdmin):
    """Lists directives and what can be done with them; none is added, edited or deleted here."""

    icon = "gavel"
