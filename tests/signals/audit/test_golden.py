"""Golden log of 2026-11-30: its rows, export and proof verify, and no sealed byte differs.

`golden/log.json` has the rows of the tables as texts: a pruned seal, a seal over odd rows, a seal over the
signal `audit.pruned`, a seal over two plain signals, and a signal that is in no seal.
"""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit.publishing import exports, proofs
from signals.audit.sealing import keys
from signals.audit.verifying import verification
from tests.signals.audit.attacks import unguarded

GOLDEN = Path(__file__).parent / "golden"
PRIVATE_KEY = base64.b64encode(bytes(range(32))).decode()
PUBLIC_KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
KNOWN = keys.public_keys([PUBLIC_KEY], "PUBLIC_KEY")
ODD_SIGNAL = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def log(database, settings):
    """Put the golden log into the tenant alpha, which gets the golden tenant's time of creation."""
    settings.AUDIT_KEY = PRIVATE_KEY
    alpha = Tenant.objects.get(slug="alpha")
    created_at = alpha.created_at
    Tenant.objects.filter(slug="alpha").update(created_at=datetime(2026, 1, 1, tzinfo=UTC))
    with in_tenant("alpha"):
        with unguarded() as cursor:
            for table, rows in json.loads((GOLDEN / "log.json").read_text()).items():
                for row in rows:
                    cursor.execute(
                        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",
                        list(row.values()),
                    )
        yield
    Tenant.objects.filter(slug="alpha").update(created_at=created_at)


def test_an_old_log_verifies(log):
    report = verification.verify()
    assert [finding.text for finding in report.findings] == []
    assert (report.seals, report.pruned_seals, report.signals, report.unsealed) == (4, 1, 17, 1)


def test_an_old_log_is_exported_byte_for_byte(log):
    *lines, _trailer = exports.export()
    *golden, _golden_trailer = (GOLDEN / "export.jsonl").read_bytes().splitlines(keepends=True)
    assert lines == golden


def test_an_old_log_is_proven_with_the_same_document(log):
    assert proofs.prove(ODD_SIGNAL) == json.loads((GOLDEN / "proof.json").read_text())


def test_an_old_export_and_an_old_proof_hold():
    lines = (GOLDEN / "export.jsonl").read_bytes().splitlines(keepends=True)
    found = exports.check(lines, KNOWN)
    assert (found.tenant, found.seals, found.signals, found.pruned_seals) == ("alpha", 4, 17, 1)
    assert proofs.check((GOLDEN / "proof.json").read_text(), KNOWN)["event"]["id"] == ODD_SIGNAL
