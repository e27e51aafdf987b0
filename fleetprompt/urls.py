"""URLs of the tenants' hosts."""

from django.urls import include, path

from fleetprompt.sites import tenant_site

urlpatterns = [path("admin/", tenant_site.urls), path("", include("forums.web.urls"))]
