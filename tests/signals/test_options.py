"""Options that commands share: times at the command line."""

import pytest
from django.core.management.base import CommandError
from django.utils import timezone

from signals.cli import options


@pytest.mark.parametrize("text", ["2026-10-25T02:30", "2026-03-29T02:30"], ids=["twice", "never"])
def test_a_time_that_the_clocks_show_twice_or_never_needs_an_offset(text):
    with timezone.override("Europe/Paris"):
        with pytest.raises(CommandError, match=r"--at: the clocks of Europe/Paris show .* add an offset"):
            options.moment("--at", text)
        assert options.moment("--at", f"{text}+01:00").isoformat() == f"{text}:00+01:00"
        assert options.moment("--at", "2026-10-25T03:30").isoformat() == "2026-10-25T03:30:00+01:00"
