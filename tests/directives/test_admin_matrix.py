"""Permission matrix: role × directive × action, by real requests to a tenant's admin."""

from typing import get_args
from uuid import uuid4

import pytest

from directives import registry
from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from signals.models import Signal
from tests.admin import AdminClient, client_of
from tests.support import ask, change, make_forum

HANDLERS = {
    handler.name: handler for kind in (Thread, Post) for handler in registry.about(kind.SUBJECT_TYPE)
}
SAMPLES = {str: "a", int: 1, float: 1.0, bool: True}
ACTIONS = ("request", "snooze", "run_now", "cancel", "rerun")

# What a role may do, as the ready-made groups and Django's superuser have it; who may snooze may run now.
ROLES = {
    "superuser": dict.fromkeys(HANDLERS, "request snooze cancel rerun"),
    "Moderator": {
        name: "request snooze" if handler.for_moderators else "" for name, handler in HANDLERS.items()
    },
    "Auditor": dict.fromkeys(HANDLERS, ""),
    "staff without a group": dict.fromkeys(HANDLERS, ""),
    "only reruns of locks": {**dict.fromkeys(HANDLERS, ""), "forum.thread.lock": "rerun"},
}
CASES = [
    (role, name, action, action.replace("run_now", "snooze") in allowed.split())
    for role, names in ROLES.items()
    for name, allowed in names.items()
    for action in ACTIONS
]


def log_in(role: str) -> AdminClient:
    """Return a client that is logged in as somebody of the role."""
    if role == "superuser":
        return client_of("ada", superuser=True)
    if role in ("Moderator", "Auditor"):
        return client_of("someone", group=role)
    single = ["view_directive", "rerun_forum.thread.lock"] if role.startswith("only") else []
    return client_of("someone", permissions=single)


def sample(kind):
    """Return a value of a payload's field: of a plain type, or the first of a `Literal`."""
    return SAMPLES[kind] if kind in SAMPLES else get_args(kind)[0]


def payload_of(name, forum):
    """Return a payload that the directive takes, and the record that it is about."""
    handler = HANDLERS[name]
    references = handler.references()
    records = {record.SUBJECT_TYPE: record for record in (forum.category, forum.thread, forum.posts[0])}
    payload = {
        field: str(records[kind].pk) if (kind := references.get(field)) else sample(info.annotation)
        for field, info in handler.Payload.model_fields.items()
        if info.is_required()
    }
    return payload, records[handler.subject_type]


def request_it(client, name, forum):
    """Submit the form that requests the directive."""
    payload, record = payload_of(name, forum)
    further = {f"payload_{key}": value for key, value in payload.items()} | {"payload_author_type": "agent"}
    return client.post(
        f"/admin/directives/directive/request/{name}/",
        {
            **further,
            "subjects": str(record.pk),
            "batch": str(uuid4()),
            "reason": "Matrix",
            "when": "now",
            "confirm": "request",
        },
    )


def operate(client, action, directive):
    """Submit the form of an operation on one directive."""
    return client.post(
        f"/admin/directives/directive/operate/{action}/",
        {
            "_selected_action": str(directive.pk),
            "token": str(uuid4()),
            "reason": "Matrix",
            "until": "1h",
        },
    )


def stored(name, action, forum):
    """Make a directive that is in the state which the action needs."""
    payload, _ = payload_of(name, forum)
    directive = ask(name, payload).directive
    if action == "rerun":
        change(directive, status="failed")
    return directive


@pytest.mark.parametrize(("role", "name", "action", "allowed"), CASES)
def test_the_matrix(database, role, name, action, allowed):
    client = log_in(role)
    with in_tenant("alpha"):
        forum = make_forum()
        directive = None if action == "request" else stored(name, action, forum)
        before = snapshot()
    answer = request_it(client, name, forum) if directive is None else operate(client, action, directive)
    assert answer.status_code in ((200, 302) if allowed else (403,)), answer.content.decode()
    with in_tenant("alpha"):
        if allowed:
            assert Signal.objects.filter(actor_type="user", name__startswith="directive.").exists()
            assert snapshot() != before
        else:
            assert snapshot() == before


def snapshot():
    """What a refused request must leave as it was."""
    return (
        list(Directive.objects.order_by("pk").values()),
        list(Signal.objects.order_by("pk").values_list("pk", flat=True)),
        list(Post.objects.order_by("pk").values_list("status", flat=True)),
    )
