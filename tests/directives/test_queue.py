"""The queue between the processes of a cluster: few messages, and a killed worker does not block it."""

import threading

from directives.queueing.compat import Queue
from tests.support import wait_until


def put(queue, *tasks):
    """Put the tasks from a thread; give the thread."""
    thread = threading.Thread(target=lambda: [queue.put(task) for task in tasks], daemon=True)
    thread.start()
    return thread


def test_who_fetches_waits_until_a_worker_takes_what_is_there():
    queue = Queue(maxsize=2)
    queue.put({"name": "first"})
    fetching = put(queue, {"name": "second"})
    wait_until(lambda: queue.qsize() == 2, "the second is there")
    fetching.join(0.1)
    assert fetching.is_alive(), "it waits"
    assert queue.get() == {"name": "first"}
    fetching.join(20)
    assert not fetching.is_alive()
    assert queue.get() == {"name": "second"}
    assert queue.empty()


def test_what_stops_workers_waits_for_none():
    queue = Queue(maxsize=1)
    for _ in range(5):
        queue.put("STOP")
    assert [queue.get() for _ in range(5)] == ["STOP"] * 5


def test_results_do_not_wait():
    queue = Queue()
    for number in range(100):
        queue.put({"number": number})
    assert [queue.get()["number"] for _ in range(100)] == list(range(100))


def test_tasks_that_killed_workers_did_not_count_off_hold_nobody_up():
    queue = Queue(maxsize=1)
    queue.size.increment(3)
    fetching = put(queue, {"name": "first"}, {"name": "second"})
    assert [queue.get()["name"], queue.get()["name"]] == ["first", "second"]
    fetching.join(20)
    assert not fetching.is_alive()
