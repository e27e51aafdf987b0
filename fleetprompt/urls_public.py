"""URLs of the operators' hosts."""

from django.urls import path

from fleetprompt.operators import views
from fleetprompt.sites import operators_site
from fleetprompt.telemetry.views import show as metrics

urlpatterns = [
    path("", views.index, name="index"),
    path("admin/", operators_site.urls),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
