"""The list of directives: what was asked, by whom and why, and how it went."""

from django.contrib import admin
from django.http import HttpRequest
from django.urls import URLPattern, reverse

from directives.admin import requesting, urls
from directives.models import Directive
from fleetprompt.model_admin import ReadOnlyModelAdmin
from fleetprompt.sites import tenant_site


@admin.register(Directive, site=tenant_site)
class DirectiveAdmin(ReadOnlyModelAdmin):
    """Lists directives and what can be done with them; none is added, edited or deleted here."""

    icon = "gavel"

    def side_links(self, request: HttpRequest) -> list[dict[str, str]]:
        """Return the link to request a directive, for those who may request any."""
        if not requesting.may_request_any(request.user):
            return []
        url = reverse("admin:directives_directive_request")
        return [{"title": "Request directive", "icon": "add_circle", "link": url}]

    def get_urls(self) -> list[URLPattern]:
        """Return the pages of the list and of single directives, and those for requesting."""
        return [*urls.patterns(self.admin_site), *super().get_urls()]
