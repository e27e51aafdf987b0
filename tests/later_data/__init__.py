"""The migrations of `directives` and one that goes by content types, whose ids differ between schemas."""

from directives import migrations

__path__ += migrations.__path__
