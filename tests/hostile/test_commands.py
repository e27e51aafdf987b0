"""Hostile arguments for every command of the project: a status, a sentence, and nothing changed."""

import argparse
import io
import os
import sys
from unittest.mock import patch
from uuid import uuid4

import pytest
from django.apps import apps
from django.core.management import ManagementUtility, get_commands, load_command_class
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from directives.models import Directive
from directives.monitoring.checks import queueing
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from forums.models import Post
from signals.models import Signal
from tests.hostile.strategies import broken, examples

# Bytes that are no UTF-8 reach a program as surrogates; a NUL cannot reach it at all.
ARGUMENTS = st.one_of(broken, st.binary(max_size=30).map(os.fsdecode)).filter(lambda text: "\0" not in text)
OWN = ("fleetprompt", "signals", "directives", "forums")
# They go on forever, or for minutes, when nothing is wrong with their arguments.
LONG_RUNNING = ("cluster", "demo", "serve", "embedded")


@pytest.fixture(autouse=True, scope="module")
def _brief_wait():
    """Give a cluster that is not there less time to report to the doctor."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(queueing, "HEARTBEAT_TIMEOUT_SECONDS", 0.1)
        yield


def _paths(parser, path):
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not found:
        yield path, [action for action in parser._actions if _takes_a_value(action)]
    for action in found:
        for name, inner in action.choices.items():
            yield from _paths(inner, (*path, name))


def _takes_a_value(action):
    is_django = any(option in DJANGOS for option in action.option_strings)
    return action.nargs != 0 and not is_django and not isinstance(action, argparse._HelpAction)


DJANGOS = ("--settings", "--pythonpath", "--verbosity", "--version")
"""Options of every command, which Django reads before ours begin."""


AS_DJANGOS = ("migrate", "migrate_schemas")
"""What these take is up to Django: an app's name and a migration's, which they obey."""


def _commands():
    for name, app in sorted(get_commands().items()):
        if name in AS_DJANGOS:
            continue
        if str(app).split(".")[0] in OWN and str(app) in {config.name for config in apps.get_app_configs()}:
            yield from _paths(load_command_class(app, name).create_parser("manage.py", name), (name,))


COMMANDS = dict(_commands())


def call(*arguments):
    """Run a command as `manage.py` does, up to the process' end; return its status and standard error."""
    # As strict as the real one: what cannot be encoded cannot be printed.
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True)
    with patch.multiple(sys, stdout=out, stderr=err, stdin=io.TextIOWrapper(io.BytesIO())):
        try:
            ManagementUtility(["manage.py", *arguments]).execute()
            status = 0
        except SystemExit as end:
            status = end.code or 0
    return status, err.buffer.getvalue().decode()


def everything():
    """Return how much there is of what a command could change."""
    connection.set_schema_to_public()
    with in_tenant("alpha"):
        counts = [model.objects.count() for model in (Directive, Signal, Post)]
    return [*counts, sorted(Tenant.objects.values_list("slug", "status"))]


def test_the_commands_are_found():
    assert ("directive", "request") in COMMANDS
    assert ("tenant", "create") in COMMANDS
    assert ("import_posts",) in COMMANDS
    assert {path[0] for path in COMMANDS} >= {"cluster", "demo", "serve", "embedded"}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_argument_too_many_is_a_usage_error(database, path):
    good = [
        value
        for action in COMMANDS[path]
        if not action.option_strings
        for value in ["x"]
        if action.nargs != "?"
    ]
    for hostile in ("\udcff", "\u202eevil", "--\x1b[2J", "<script>"):
        status, error = call(*path, *good, "x", hostile, hostile)
        takes_the_rest = any(action.nargs == argparse.REMAINDER for action in COMMANDS[path])
        assert status == (1 if takes_the_rest else 2), error
        assert "Traceback" not in error


def known(action):
    """Return a value that fits where a hostile one would hide what comes behind it."""
    if action.choices:
        return next(iter(action.choices))
    return {
        "slug": "No Slug!",
        "tenant": "alpha",
        "payload": "{}",
        "id": str(uuid4()),
        "port": "0",
        "until": "2090-01-01",
        "thread": "Old",
    }.get(action.dest, "text")


SHORT = {path: actions for path, actions in COMMANDS.items() if path[0] not in LONG_RUNNING}


@pytest.mark.parametrize("path", SHORT, ids=" ".join)
@given(data=st.data())
@examples(30)
def test_hostile_values_are_refused_in_a_sentence_and_change_nothing(database, path, data):
    arguments = []
    for action in SHORT[path]:
        is_needed = action.required or (not action.option_strings and action.nargs != "?")
        if not is_needed and not data.draw(st.booleans()):
            continue
        hostile = data.draw(st.booleans())
        value = data.draw(ARGUMENTS) if hostile else known(action)
        arguments += [f"{action.option_strings[0]}={value}"] if action.option_strings else [value]
    before = everything()
    status, error = call(*path, *arguments)
    assert "Traceback" not in error
    assert status in (0, 1, 2)
    if status == 0:
        # Only what is no harm may be taken: a name, a label, a reason.
        assert not set(everything()[3]) - set(before[3]) or path == ("tenant", "create")
        return
    assert everything() == before
    [*_, last] = error.strip().splitlines()
    assert last
    if status == 1:
        assert len(last) < 12_000
        assert "\x1b" not in error.replace("\x1b[31;1m", "").replace("\x1b[0m", "")
