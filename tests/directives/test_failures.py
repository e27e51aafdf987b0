"""Classifies errors as transient or permanent, and describes them."""

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from directives.errors import DirectiveError, Retry
from directives.lifecycle.failures import describe, is_transient, lacks_migration
from fleetprompt.time_limit import TimeLimitExceeded

TRANSIENT = {
    "40P01": "deadlock",
    "40001": "serialization failure",
    "57014": "statement timeout",
    "57P01": "shutdown",
    "53300": "too many connections",
    "53100": "disk full",
    "08006": "connection failure",
    "55P03": "lock not available",
    "25006": "a standby, after a failover",
}
PERMANENT = {
    "23505": "unique violation",
    "42P01": "no such table",
    "22001": "text too long",
    "23503": "foreign key",
    "42501": "not allowed",
    "25P02": "transaction is broken already",
    "55006": "object in use",
}


@pytest.mark.parametrize("state", [*TRANSIENT, *PERMANENT])
def test_the_databases_own_code_says_whether_to_try_again(database, state):
    with connection.cursor() as cursor, pytest.raises(DatabaseError) as caught:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'test' USING ERRCODE = '{state}'; END $$")
    assert is_transient(caught.value) is (state in TRANSIENT)


def test_a_handlers_own_error_lacks_no_migration(database):
    """A handler that makes a `DirectiveError` of a database's error means that it is permanent."""
    with pytest.raises(DatabaseError) as caught, connection.cursor() as cursor:
        cursor.execute("SELECT nothing")
    assert lacks_migration(caught.value)
    own = DirectiveError("never")
    own.__cause__ = caught.value.__cause__
    assert not lacks_migration(own)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (Retry("later"), True),
        (TimeLimitExceeded("slow"), True),
        (InterfaceError("connection already closed"), True),
        (OperationalError("the connection is lost"), True),
        (DirectiveError("never"), False),
        (ValueError("bug"), False),
        (DatabaseError("no code"), False),
    ],
)
def test_other_errors_are_told_apart_by_their_class(error, transient):
    assert is_transient(error) is transient


def test_an_error_is_its_class_and_message():
    assert describe(ValueError("no such thing")) == "ValueError: no such thing"


@pytest.mark.parametrize(("length", "cut"), [(1988, False), (1989, True), (50_000, True)])
def test_an_error_is_cut_to_2000_characters(length, cut):
    text = describe(ValueError("x" * length))
    assert len(text) == min(length + 12, 2000)
    assert text.endswith("…") is cut


def test_what_the_database_cannot_store_is_escaped():
    assert describe(ValueError("a\x00b\ud800")) == "ValueError: a\\0b\\ud800"
