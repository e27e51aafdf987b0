"""Options that commands share: times and actors at the command line."""

from types import SimpleNamespace

import pytest
from django.core.management.base import CommandError
from django.utils import timezone

from signals.cli import options
from signals.types import Actor
from tests.recipes import accounts


@pytest.mark.parametrize("text", ["2026-10-25T02:30", "2026-03-29T02:30"], ids=["twice", "never"])
def test_a_time_that_the_clocks_show_twice_or_never_needs_an_offset(text):
    with timezone.override("Europe/Paris"):
        with pytest.raises(CommandError, match=r"--at: the clocks of Europe/Paris show .* add an offset"):
            options.moment("--at", text)
        assert options.moment("--at", f"{text}+01:00").isoformat() == f"{text}:00+01:00"
        assert options.moment("--at", "2026-10-25T03:30").isoformat() == "2026-10-25T03:30:00+01:00"


@pytest.fixture
def users(alpha):
    """Mira; a user whose name is Mira's id; one whose name is an id that nobody has; one who left."""
    mira = accounts.user.make(username="mira", first_name="Mira", last_name="Okafor")
    confusing = accounts.user.make(username=str(mira.pk))
    lonely = accounts.user.make(username="999999")
    accounts.user.make(username="gone", is_active=False)
    return SimpleNamespace(mira=mira, confusing=confusing, lonely=lonely)


@pytest.mark.parametrize("label", ["", ":The night shift"])
def test_a_user_is_named_by_the_user_name(users, label):
    found = options.actor(f"user:mira{label}")
    assert found == Actor("user", str(users.mira.pk), label[1:] or "Mira Okafor")


def test_a_user_is_named_by_the_id(users):
    assert options.actor(f"user:{users.lonely.pk}") == Actor("user", str(users.lonely.pk), "999999")


def test_what_is_one_users_id_and_anothers_name_is_refused_with_both(users):
    mira, other = users.mira.pk, users.confusing.pk
    with pytest.raises(CommandError) as refused:
        options.actor(f"user:{mira}")
    assert str(refused.value) == (
        f"--actor: '{mira}' can be an id, and is the user name of the user with the id {other}; "
        f"expected user:{other}, or user:mira for the user with the id {mira}"
    )


def test_a_name_that_could_be_an_id_is_refused_even_where_nobody_has_it(users):
    with pytest.raises(CommandError, match=rf"'999999' can be an id, .* expected user:{users.lonely.pk}$"):
        options.actor("user:999999")


@pytest.mark.parametrize("name", ["nobody", "gone", "Mira", "4711"])
def test_nobody_active_of_that_name_or_id_is_refused(users, name):
    with pytest.raises(CommandError, match=f"--actor: this tenant has no active user .* '{name}'"):
        options.actor(f"user:{name}")


def test_agents_and_processes_are_what_they_are_called(users):
    assert options.actor("agent:mira") == Actor("agent", "mira")
