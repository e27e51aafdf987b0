"""What the operators' hosts serve."""

from django.urls import path

from fleetprompt import views
from fleetprompt.sites import operators_site

urlpatterns = [
    path("", views.index, name="index"),
    path("admin/", operators_site.urls),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
]
