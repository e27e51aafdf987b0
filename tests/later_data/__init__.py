"""The migrations of `directives` and one that reads content types, whose ids differ between schemas."""

from directives import migrations

__path__ += migrations.__path__
