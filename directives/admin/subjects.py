"""The base of admin pages of records that directives can be about: read, and changed by directive only."""

from fleetprompt.model_admin import ReadOnlyModelAdmin


class SubjectAdmin(ReadOnlyModelAdmin):
    """Shows a subject, offers the directives that apply to it, and tells its history."""
