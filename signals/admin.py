"""The admin pages of signals: read, searched and exported, never written."""

from django.contrib import admin

from fleetprompt.model_admin import ReadOnlyModelAdmin
from fleetprompt.sites import tenant_site
from signals.models import Signal


@admin.register(Signal, site=tenant_site)
class SignalAdmin(ReadOnlyModelAdmin):
    """Lists signals, newest first."""

    icon = "sensors"
