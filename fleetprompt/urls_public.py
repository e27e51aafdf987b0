"""What the operators' hosts serve."""

from django.urls import path

from fleetprompt import views

urlpatterns = [
    path("", views.index, name="index"),
    path("health/", views.health, name="health"),
]
