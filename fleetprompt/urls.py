"""What a tenant's own hosts serve."""

from django.urls import include, path

urlpatterns = [path("", include("forums.urls"))]
