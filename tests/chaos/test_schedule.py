"""Schedules and requests follow from their seed, and a restarted requester continues its journal."""

import pytest

from directives import registry
from tests.chaos.harness import requests
from tests.chaos.harness.faults import KINDS
from tests.chaos.harness.journal import Journal, next_request, read
from tests.chaos.harness.schedule import WEIGHTS, schedule

TENANTS = requests.tenants(3)


def test_one_seed_is_one_schedule():
    assert schedule(7, 60, 100) == schedule(7, 60, 100)
    assert schedule(7, 60, 100) != schedule(8, 60, 100)


def test_a_schedule_has_every_kind_and_spreads_over_the_time():
    plan = schedule(7, 60, 100)
    assert len(plan) == 100
    assert {fault.kind for fault in plan} == KINDS.keys()
    assert KINDS.keys() == WEIGHTS.keys()
    assert plan == sorted(plan), "in the order of time"
    assert plan[0].at < 1
    assert 59 < plan[-1].at < 60


def test_a_schedule_without_room_for_every_kind_is_refused():
    with pytest.raises(ValueError, match=f"expected {len(KINDS)} or more, one of each kind; got 3"):
        schedule(7, 60, 3)


def test_one_seed_is_one_list_of_requests_for_each_requester():
    first, again = (list(requests.requests(7, 0, 500, TENANTS)) for _ in range(2))
    assert first == again
    assert first != list(requests.requests(7, 1, 500, TENANTS))
    assert first != list(requests.requests(8, 0, 500, TENANTS))


def test_requests_are_for_as_many_directives_as_asked_with_a_key_each():
    found = list(requests.requests(7, 0, 2000, TENANTS))
    items = [item for request in found for item in request.items]
    assert len({item.key for item in items}) == len(items) == 2000
    assert {request.tenant for request in found} == {*TENANTS}
    assert {request.operation for request in found} == {"", *requests.OPERATIONS}
    assert all(registry.find(name) for name in requests.NAMES)
    animals = {name for name in requests.NAMES if name.startswith("zoo.")}
    assert animals <= {item.name for item in items} | {"zoo.animal.freeze", "zoo.animal.procrastinate"}
    for item in items:
        assert item.key.startswith(f"{item.key.partition(':')[0]}:0:")


def test_a_journal_goes_on_where_its_requester_was_killed(tmp_path):
    path = tmp_path / "journal"
    journal = Journal(path)
    assert next_request(journal.before) == 0
    journal.write(do="ask", request=0, tenant="a", keys=["k"])
    assert next_request(Journal(path).before) == 0, "nobody knows whether it was done, so it is asked again"
    journal.write(did="ask", request=0, tenant="a", answers=[["k", "id", True]])
    assert next_request(Journal(path).before) == 1
    journal.write(do="operate", request=1, tenant="a", name="cancel", id="id")
    assert next_request(Journal(path).before) == 2, "an operation is not done again"


def test_a_line_cut_short_by_a_kill_is_no_line(tmp_path):
    path = tmp_path / "journal"
    path.write_text('{"do": "ask", "request": 0}\n{"did": "as')
    journal = Journal(path)
    journal.write(do="ask", request=1)
    assert [line["request"] for line in read(path)] == [0, 1]
