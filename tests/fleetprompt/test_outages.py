"""Lost connections are replaced before the next statement, never inside a transaction."""

import logging

import pytest
from django.db import Error, OperationalError, connection, transaction

from fleetprompt.operators.log_filters import not_lost
from fleetprompt.postgres import outages
from fleetprompt.postgres.direct import execute
from fleetprompt.postgres.outages import is_lost, one_session
from forums.models import Category
from tests.support import owner_cursor, wait_until

LOST = "the connection to the database was lost; there will be a new one"


def session():
    """Return the server's process of this thread's connection."""
    return execute("SELECT pg_backend_pid()").fetchone()[0]


def cut():
    """Have the server end this thread's session; return its process."""
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    with owner_cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 20000)", [pid])
    return pid


def said(caplog):
    return [record.getMessage() for record in caplog.records].count(LOST)


@pytest.mark.parametrize("direct", [True, False])
def test_the_next_statement_has_a_new_connection_in_the_same_tenant(alpha, caplog, direct):
    Category.objects.create(slug="here", name="Here")
    for number in range(1, 4):
        cut()
        if direct:
            session()
        assert Category.objects.get().name == "Here"
        assert said(caplog) == number


def test_a_connection_that_is_cut_while_it_is_made_is_a_lost_one(alpha):
    """Not one to an old server: libpq gives a broken connection the version 0, and Django keeps that."""
    cut()
    connection.pg_version = 0
    with pytest.raises(OperationalError, match="cut before the server's version was known") as error:
        connection.check_database_version_supported()
    assert is_lost(error.value)
    connection.check_database_version_supported()
    assert session()


def test_the_next_transaction_has_a_new_connection(alpha, caplog):
    cut()
    with transaction.atomic():
        Category.objects.create(slug="here", name="Here")
    assert Category.objects.count() == 1
    assert said(caplog) == 1


@transaction.atomic
def lose_a_transaction():
    Category.objects.create(slug="lost", name="Lost")
    cut()
    Category.objects.create(slug="too", name="Too")


def test_a_transaction_is_never_gone_on_with_on_another_connection(alpha, caplog):
    with pytest.raises(OperationalError):
        lose_a_transaction()
    assert not Category.objects.exists()
    assert said(caplog) == 1


def test_what_hangs_on_a_session_fails_with_it(database, caplog):
    with one_session():
        cut()
        assert is_lost(caught("SELECT 1"))
        assert is_lost(caught("SELECT 1"))
    assert said(caplog) == 0
    assert session()
    assert said(caplog) == 1


def test_notifications_that_wait_are_no_reason_for_a_new_connection(database):
    execute("LISTEN somewhere")
    before = session()
    with owner_cursor() as cursor:
        cursor.execute("NOTIFY somewhere")
    assert session() == before
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone() == (before,)


def test_a_statement_whose_client_is_gone_ends_in_the_server(database):
    """What a dead client asked for must not be done minutes later."""
    waiting = session()
    execute("SELECT set_config('client_min_messages', 'error', false)")
    connection.connection.pgconn.send_query(b"SELECT pg_sleep(60)")
    connection.close()

    def is_gone():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [waiting])
            return cursor.fetchone() == (0,)

    wait_until(is_gone, "the server looks after its client", seconds=15)


def caught(statement):
    try:
        execute(statement)
    except Error as error:
        return error
    raise AssertionError("nothing was raised")


def test_which_errors_mean_that_the_connection_was_lost(database):
    cut()
    with one_session():
        assert is_lost(caught("SELECT 1"))
    assert is_lost(caught("SELECT pg_terminate_backend(pg_backend_pid())"))
    for statement in (
        "SELECT 1 / 0",
        "SELECT * FROM nothing",
        "SET statement_timeout = 1; SELECT pg_sleep(9)",
    ):
        assert not is_lost(caught(statement))
    assert not is_lost(ValueError())


def test_what_is_logged_while_the_database_is_away_is_left_out(database):
    record = logging.LogRecord("django-q", logging.ERROR, __file__, 1, "again", (), None)
    assert not_lost(record)
    error = caught("SELECT pg_terminate_backend(pg_backend_pid())")
    record.exc_info = (type(error), error, None)
    assert not not_lost(record)


def test_waiting_for_the_database_ends(database, monkeypatch):
    connection.close()
    with monkeypatch.context() as away:
        away.setitem(connection.settings_dict, "EMBEDDED", "")
        away.setitem(connection.settings_dict, "HOST", "/nowhere")
        with pytest.raises(OperationalError):
            outages.wait_for_database(0.3)
    outages.wait_for_database(0)
    assert session()
