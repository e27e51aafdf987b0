"""A whole deployment with a real cluster: healthy and ready, until the cluster goes."""

import io
from datetime import timedelta

from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_q.models import Schedule

from directives.monitoring.checks import queueing
from directives.queueing import clusters
from tests.checks import found
from tests.support import qcluster, wait_until


def test_a_deployment_is_well_until_its_cluster_stops(database, settings, monkeypatch, tmp_path):
    # Django's checks of a production installation are about HTTPS, keys and cookies.
    settings.DEBUG, settings.DIRECTIVES_LEASE_SECONDS = True, 60
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")
    with qcluster(tmp_path / "log") as process:
        wait_until(lambda: not found(queueing.clusters), "the cluster is seen")
        out = io.StringIO()
        call_command("doctor", "--fail-level", "warning", stdout=out)
        assert out.getvalue().splitlines()[-1].startswith("Healthy: ")
        ready = _ready()
        assert (ready.status_code, ready.json()["status"]) == (200, "ok")
        _assert_a_late_sweep_is_found(monkeypatch)
        process.terminate()
        wait_until(lambda: "directives.W020" in found(queueing.clusters), "it is stopping")
    wait_until(lambda: list(found(queueing.clusters)) == ["directives.E021"], "it is forgotten")
    assert _ready().status_code == 503


def _assert_a_late_sweep_is_found(monkeypatch):
    # The cluster has been alive for seconds, and looks at its schedule every half minute.
    monkeypatch.setattr(queueing, "LATE_AFTER", timedelta(seconds=0.1))
    late = Schedule.objects.filter(name=clusters.SWEEP)
    late.update(next_run=timezone.now() - timedelta(minutes=10))
    assert "10 minutes ago" in found(queueing.sweep)["directives.E024"].msg
    late.update(next_run=timezone.now())


def _ready():
    return Client().get("/readyz", headers={"host": "localhost"})
