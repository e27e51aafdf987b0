"""Clusters of django-q2 use the queues and values that survive a killed process."""

import multiprocessing
import os
import signal

from django_q import cluster

from directives.queueing import compat
from directives.queueing.process_lock import ProcessLock
from tests.support import wait_until


class Sentinel(cluster.Sentinel):
    """Notes what django-q2 gives its processes, and starts none."""

    def __init__(self) -> None:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self.given: list[tuple] = []
        super().__init__(None, None, "test", broker=object(), start=False)
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def spawn_process(self, target, *args):
        self.given.append(args)


def test_a_cluster_has_the_queues_and_the_clocks_that_survive_kills():
    sentinel = Sentinel()
    sentinel.spawn_worker()
    [(tasks, results, clock, _timeout)] = sentinel.given
    assert {type(tasks), type(results)} == {compat.Queue}
    assert isinstance(clock.get_lock(), ProcessLock)


def is_taken(lock: ProcessLock) -> bool:
    if lock.acquire(block=False):
        lock.release()
        return False
    return True


def test_a_worker_that_is_killed_while_it_waits_keeps_no_other_from_a_task():
    context = multiprocessing.get_context("fork")
    queue, taken = compat.Queue(), context.SimpleQueue()

    def work() -> None:
        taken.put(queue.get())

    first = context.Process(target=work)
    first.start()
    wait_until(lambda: is_taken(queue._rlock), "it waits with the lock in hand")
    os.kill(first.pid, signal.SIGKILL)
    first.join(20)
    second = context.Process(target=work)
    second.start()
    queue.put({"name": "task"})
    second.join(20)
    assert second.exitcode == 0
    assert taken.get() == {"name": "task"}
