"""Formatters of the logs: the fields of a line, and what it must not contain."""

import json
import logging

import pytest
from django.db import DataError, connection

from fleetprompt.operators.log_filters import no_query, no_result, seldom
from fleetprompt.telemetry import context, errors
from fleetprompt.telemetry.logs import Json, Line

SECRET = "a text of a user"


def record(message="hello %s", args=("you",), error=None, **extra):
    made = logging.LogRecord("some.logger", logging.WARNING, __file__, 1, message, args, None, "monitor")
    made.exc_info = (type(error), error, error.__traceback__) if error else None
    vars(made).update(extra)
    return made


def caught(function):
    """Return the exception that the function raises."""
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def nested():
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ValueError(SECRET) from error


def while_handling():
    try:
        {}[SECRET]
    except KeyError:
        raise OSError(28, SECRET)  # noqa: B904 - this is what is tested


def test_json_has_what_is_known_and_nothing_else():
    with context.bound(tenant="alpha", attempt=2, correlation=""), context.bound(directive="d1"):
        line = json.loads(Json().format(record(payload=SECRET, password=SECRET)))
    assert line.pop("process")
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "some.logger",
        "message": "hello you",
        "tenant": "alpha",
        "directive": "d1",
        "attempt": 2,
    }
    assert context.current() == {}


def test_a_line_for_people_shows_the_same_fields_and_stays_one_line():
    with context.bound(tenant="alpha", correlation="two\nlines, ü"):
        text = Line().format(record())
    assert text.endswith('WARNING some.logger: hello you [tenant=alpha correlation="two\\nlines, ü"]')
    assert "\n" not in text


@pytest.mark.parametrize("form", [Line, Json])
@pytest.mark.parametrize("function", [nested, while_handling])
def test_no_exceptions_message_is_in_any_form(form, function):
    text = form().format(record(error=caught(function), exc_text=SECRET))
    assert SECRET not in text
    assert "KeyError" in text
    assert function.__name__ in text, "its place is"


def test_stacks_tell_causes_first_and_end():
    assert [line for line in errors.stack(caught(nested)).splitlines() if line[:1] != " "] == [
        "KeyError",
        "which directly led to:",
        "ValueError",
    ]
    assert errors.stack(caught(while_handling)).endswith("\nOSError [ENOSPC]")
    circle = ValueError(SECRET)
    circle.__cause__ = KeyError(SECRET)
    circle.__cause__.__cause__ = circle
    assert errors.stack(circle).count("ValueError") == 1


def test_a_databases_error_has_its_code_and_not_what_it_quotes(alpha):
    def ask():
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::uuid", [SECRET])

    error = caught(ask)
    assert isinstance(error, DataError)
    assert SECRET in str(error)
    assert errors.brief(error) == "DataError [22P02]"


def test_only_known_fields_can_be_bound():
    with pytest.raises(ValueError, match="expected fields of tenant"), context.bound(payload="x"):
        pass


def test_what_is_said_of_a_request_afterwards_has_its_fields():
    class Of:
        log_fields = {"tenant": "alpha", "request": "r-1", "payload": SECRET}

    line = json.loads(Json().format(record(request=Of())))
    assert (line["tenant"], line["request"]) == ("alpha", "r-1")
    assert SECRET not in line.values()


def test_filters_remove_texts_that_may_quote_users():
    server = record('"%s" %s %s', (f"GET /a/?note={SECRET.split()[0]} HTTP/1.1", "200", "5"))
    assert no_query(server)
    assert server.getMessage() == '"GET /a/?… HTTP/1.1" 200 5'
    failed = record(f"Failed 'directives.tasks.work' (wake alpha) - {SECRET} : Traceback - 1", ())
    failed.levelno = logging.ERROR
    assert no_result(failed)
    assert failed.getMessage() == "Failed 'directives.tasks.work' (wake alpha)"


def test_the_same_complaint_is_heard_seldom():
    assert [seldom(record(text)) for text in ("a %s", "a %s", "b %s", "a %s")] == [
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "é", "a\tb"])
def test_a_request_id_that_is_none_is_replaced(client, database, given):
    answer = client.get("/", headers={"host": "alpha.localhost", "x-request-id": given})
    assert len(answer.headers["X-Request-ID"]) == 32
    answer = client.get("/", headers={"host": "alpha.localhost", "x-request-id": "a.B_9-"})
    assert answer.headers["X-Request-ID"] == "a.B_9-"


def test_a_page_that_breaks_is_logged_with_its_request_and_without_its_error(
    client, database, caplog, monkeypatch
):
    from forums.web import views

    def broken(*_args):
        raise RuntimeError(SECRET)

    monkeypatch.setattr(views, "Paginator", broken)
    client.raise_request_exception = False
    caplog.handler.setFormatter(Json())
    headers = {"host": "alpha.localhost", "x-request-id": "r-2"}
    assert client.get("/", headers=headers).status_code == 500
    [line] = [json.loads(line) for line in caplog.text.splitlines() if "django.request" in line]
    assert (line["tenant"], line["request"], line["exception"]) == ("alpha", "r-2", "RuntimeError")
    assert SECRET not in caplog.text


def test_statements_are_not_logged_however_much_else_of_django_is():
    django = logging.getLogger("django")
    before = django.level
    django.setLevel(logging.DEBUG)
    try:
        assert logging.getLogger("django.request").isEnabledFor(logging.DEBUG)
        assert not logging.getLogger("django.db.backends.schema").isEnabledFor(logging.DEBUG)
    finally:
        django.setLevel(before)
