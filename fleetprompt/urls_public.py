"""What the operators' hosts serve."""

from django.urls import path

from fleetprompt import views
from fleetprompt.sites import operators_site
from fleetprompt.telemetry.views import show as metrics

urlpatterns = [
    path("", views.index, name="index"),
    path("admin/", operators_site.urls),
    path("health/", views.health, name="health"),
    path("metrics", metrics, name="metrics"),
]
