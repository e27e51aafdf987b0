"""URLs of the forum for its readers."""

from django.urls import path

from forums.web import views

urlpatterns = [
    path("", views.index, name="forum"),
    path("threads/<uuid:pk>/", views.thread, name="thread"),
]
