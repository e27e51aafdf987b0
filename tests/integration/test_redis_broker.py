"""Redis as the queue's broker, end to end: it carries wake-ups only."""

import os
from uuid import uuid4

import pytest
import redis

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from tests.support import ask_animal, effects, ended, manage, messages, qcluster, signal_names, wait_until

URL = os.environ.get("TEST_REDIS_URL", "")
pytestmark = [
    pytest.mark.redis,
    pytest.mark.skipif(
        not URL, reason="TEST_REDIS_URL names no Redis server, such as redis://127.0.0.1:6379/15"
    ),
]

REQUEST = """
from directives import requests
from django.db import transaction
from fleetprompt.tenants.context import in_tenant
from signals.types import Actor

class Undo(Exception):
    pass

def ask(animal, name="work", **fields):
    payload = {"animal": animal, **fields}
    requests.request(
        f"zoo.animal.{name}", payload, actor=Actor("system", "shell"), idempotency_key=str(payload)
    )

with in_tenant("alpha"):
    try:
        with transaction.atomic():
"""
UNDO = "\n    except Undo:\n        pass\n"


@pytest.fixture
def queue():
    """Give a name for a queue of the test's own and the means to look into it."""
    name = f"test-{uuid4().hex}"
    server = redis.Redis.from_url(URL)
    yield name, lambda: server.llen(f"django_q:{name}:q")
    for key in server.scan_iter(f"*{name}*"):
        server.delete(key)
    server.close()


def shell(name, *lines):
    """Run the lines inside a transaction of a process whose broker is Redis."""
    code = REQUEST + "".join(f"            {line}\n" for line in lines) + UNDO
    ran = manage("shell", "-c", code, BROKER_URL=URL, CLUSTER_NAME=name)
    assert ran.returncode == 0, ran.stderr


def all_ended(count):
    with in_tenant("alpha"):
        asked = list(Directive.objects.all())
        return len(asked) == count and ended(asked)


def test_a_wake_up_goes_out_on_commit_and_not_before(database, queue):
    name, length = queue
    shell(
        name,
        "ask('kept')",
        "from django_q.brokers import get_broker",
        "assert get_broker().queue_size() == 0",
    )
    assert length() == 1
    assert messages() == 0, "PostgreSQL's queue is not used"
    with in_tenant("alpha"):
        assert Directive.objects.get().status == "requested"


def test_nothing_goes_out_when_the_transaction_rolls_back(database, queue):
    name, length = queue
    shell(name, "ask('lost')", "raise Undo")
    assert length() == 0
    with in_tenant("alpha"):
        assert not Directive.objects.exists()


def test_what_is_for_later_is_left_to_the_sweep(database, queue):
    name, length = queue
    shell(
        name,
        "from django.utils import timezone; from datetime import timedelta",
        "requests.request('zoo.animal.work', {'animal': 'later'}, actor=Actor('system', 'shell'),"
        " scheduled_at=timezone.now() + timedelta(hours=1))",
    )
    assert length() == 0
    assert messages() == 0


def test_a_cluster_executes_directives_from_request_to_signal(database, queue, tmp_path):
    name, length = queue
    with qcluster(tmp_path / "log", BROKER_URL=URL, CLUSTER_NAME=name):
        shell(name, "for number in range(12):", "    ask(f'cat {number % 3}', note=str(number))")
        wait_until(lambda: all_ended(12), "all have ended")
        wait_until(lambda: not length(), "every wake-up is used up")
    with in_tenant("alpha"):
        assert set(Directive.objects.values_list("status", "attempt")) == {("succeeded", 1)}
        assert [effects(f"cat {number % 3} {number}") for number in range(12)] == [1] * 12
        for directive in Directive.objects.all():
            assert signal_names(directive) == [
                "directive.requested",
                "directive.started",
                "zoo.animal.worked",
                "directive.succeeded",
            ]
    assert messages() == 0


@pytest.mark.long
def test_what_was_requested_before_the_cluster_started_is_executed_too(database, queue, tmp_path):
    name, _ = queue
    shell(name, "ask('cat')", "ask('dog', 'refuse')")
    with in_tenant("alpha"):
        # Requested by a process whose broker is another one: its wake-up never arrives in Redis.
        ask_animal("work", "cow")
    with qcluster(tmp_path / "log", BROKER_URL=URL, CLUSTER_NAME=name):
        wait_until(lambda: all_ended(3), "one wake-up is enough for all")
    with in_tenant("alpha"):
        states = dict(Directive.objects.values_list("subject_id", "status"))
        assert states == {"cat": "succeeded", "dog": "failed", "cow": "succeeded"}
