"""Workers that are stopped within a transaction: the server ends their sessions soon after the lease."""

import signal
import subprocess
import sys

import psutil
from django.conf import settings

from directives import runner
from fleetprompt.tenants.context import in_tenant
from tests.support import ask_animal, crash, effects, ended, environment, signal_names, states, wait_until

STOPPED = """
import os, signal, sys
import django
django.setup()
from directives import runner
from directives.lifecycle import transitions
from fleetprompt.tenants.context import in_tenant
tenant, step, directive = sys.argv[1:]
change = getattr(transitions, step)
def change_and_stop(*arguments, **options):
    change(*arguments, **options)
    os.kill(os.getpid(), signal.SIGSTOP)
setattr(transitions, step, change_and_stop)
with in_tenant(tenant):
    runner.run(directive)
"""


def stop_at(step, tenant, directive):
    """Start a worker that runs the directive and is stopped at a change of its state, before the commit."""
    return subprocess.Popen(
        [sys.executable, "-c", STOPPED, tenant, step, str(directive.id)],
        cwd=settings.BASE_DIR,
        env=environment(),
        stderr=subprocess.DEVNULL,
    )


def is_stopped(process):
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


def test_a_stopped_worker_does_not_keep_its_tenant_or_its_directive(database):
    with in_tenant("alpha"):
        claimed, other = ask_animal("work", "claimed"), ask_animal("work", "other")
        # A usual claim is one message: only one that takes over can be stopped in the middle.
        crash(claimed, begun=False)
    with in_tenant("beta"):
        begun, failed = ask_animal("work", "begun"), ask_animal("refuse", "failed")
    stopped = [
        stop_at("take_over", "alpha", claimed),
        stop_at("begin", "beta", begun),
        stop_at("fail", "beta", failed),
    ]
    try:
        wait_until(lambda: all(map(is_stopped, stopped)), "the workers are stopped")
        with in_tenant("alpha"):
            # The claim waits for the stopped one, whose session is ended by and by.
            runner.run_due()
            assert states(claimed, other) == ["succeeded"] * 2
            told = signal_names(claimed)
            assert told.count("directive.started") == 2, "the crashed claim's and this one's"
            assert told.count("directive.recovered") == 1, "the other was rolled back"
        with in_tenant("beta"):
            wait_until(lambda: (runner.run_due(), ended([begun, failed]))[1], "both have ended")
            assert states(begun, failed) == ["succeeded", "failed"]
            assert signal_names(failed).count("directive.failed") == 1
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)
            process.wait()
    with in_tenant("alpha"):
        assert effects("claimed") == effects("other") == 1
    with in_tenant("beta"):
        assert states(begun, failed) == ["succeeded", "failed"]
        assert (effects("begun"), effects("failed")) == (1, 0)
