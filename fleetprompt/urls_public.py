"""What the operators' hosts serve."""

from django.urls import path

from fleetprompt.sites import operators_site
from fleetprompt.telemetry.views import show as metrics
from fleetprompt.web import views

urlpatterns = [
    path("", views.index, name="index"),
    path("admin/", operators_site.urls),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
