"""The process lock: one process holds it at a time, and it ends with its holder."""

import multiprocessing
import os
import signal

import pytest

from directives.queueing.process_lock import ProcessLock


@pytest.fixture
def lock():
    return ProcessLock()


def in_child(work):
    """Do the work in a forked process; give the process and its end of a pipe."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=lambda: work(theirs), daemon=True)
    process.start()
    return process, ours


def holds(lock):
    def work(pipe):
        with lock:
            pipe.send("held")
            pipe.recv()
        pipe.send("released")

    return work


def test_another_process_waits_until_it_is_released(lock):
    process, pipe = in_child(holds(lock))
    assert pipe.recv() == "held"
    assert not lock.acquire(block=False)
    pipe.send("release it")
    assert lock.acquire()
    assert pipe.recv() == "released"
    process.join()


def test_a_killed_process_gives_it_back(lock):
    process, pipe = in_child(holds(lock))
    assert pipe.recv() == "held"
    os.kill(process.pid, signal.SIGKILL)
    assert lock.acquire()
    process.join()


def test_its_holder_takes_it_again_and_keeps_it_until_the_last_release(lock):
    def tries(pipe):
        pipe.send(lock.acquire(block=False))

    with lock:
        with lock:
            pass
        process, pipe = in_child(tries)
        assert pipe.recv() is False
        process.join()
    process, pipe = in_child(tries)
    assert pipe.recv() is True
    process.join()


def test_who_does_not_hold_it_cannot_release_it(lock):
    def tries(pipe):
        with pytest.raises(ValueError, match="not held"):
            lock.release()
        pipe.send("refused")

    with pytest.raises(ValueError, match="not held"):
        lock.release()
    with lock:
        process, pipe = in_child(tries)
        assert pipe.recv() == "refused", "a child does not inherit it"
        process.join()
