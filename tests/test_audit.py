"""The audit of the dependencies, with a local vulnerability service and with none."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.conf import settings

VULNERABILITY = {
    "id": "PYSEC-0-0",
    "published": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "django", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
        }
    ],
}


class Service(BaseHTTPRequestHandler):
    """Answers as osv.dev does: Django has a vulnerability, if anything has."""

    is_django_vulnerable = True

    def do_POST(self):
        """Answer what is known about one package."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_hit = self.is_django_vulnerable and asked["package"]["name"] == "django"
        body = json.dumps({"vulns": [VULNERABILITY]} if is_hit else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


def audit(url):
    return subprocess.run(
        [sys.executable, "-m", "tests.audit", "--vulnerability-service", "osv", "--osv-url", url],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def service():
    server = HTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_known_vulnerability_fails_and_is_named(service):
    done = audit(service)
    assert done.returncode == 1, done.stderr
    assert "PYSEC-0-0 (fixed in: 99)" in done.stdout
    assert "1 vulnerable" in done.stdout


def test_no_known_vulnerability_passes(service, monkeypatch):
    monkeypatch.setattr(Service, "is_django_vulnerable", False)
    done = audit(service)
    assert done.returncode == 0
    assert "0 vulnerable" in done.stdout


def test_without_a_service_one_line_says_that_nothing_was_audited():
    done = audit("http://127.0.0.1:9/v1/query")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert "nothing was audited" in done.stdout
