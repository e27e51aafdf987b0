"""Environment of a run: its own PostgreSQL server and the variables that lead to it."""

import atexit
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench.server import APPLICATION, Server

FOLDER = Path(__file__).resolve().parents[2] / "var/bench"


@contextmanager
def session() -> Iterator[tuple[Server, Path]]:
    """Give a server and a folder for logs for a block; both are removed in the end.

    This process and all that it starts use the server, with the settings of production. The logs stay
    when the block fails.
    """
    # Removing the database and stopping clusters is left to the blocks that are open.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = FOLDER / f"run-{os.getpid()}"
    folder.mkdir(parents=True)
    # Registered before the wheel is there, so that it comes after the wheel's own last look at its lock.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        server = Server(folder / "postgres")
        try:
            _prepare_environment(server, folder)
            yield server, folder
        finally:
            server.remove()
    except Exception:
        atexit.unregister(shutil.rmtree)
        Console(stderr=True).print(f"The logs are in {folder}", soft_wrap=True)
        raise


def save(result: dict[str, Any], output: Path) -> None:
    """Write what was measured as JSON, and say where."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    Console(stderr=True).print(f"Written to {output}", soft_wrap=True)


def _prepare_environment(server: Server, folder: Path) -> None:
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.bench.settings",
        "DATABASE_URL": server.url(APPLICATION),
        "DATABASE_OWNER_URL": server.url("postgres"),
        # With DEBUG, Django keeps every statement in memory.
        "DEBUG": "0",
        "SECRET_KEY": "for the benchmark, known to everybody " + "0" * 20,
        "ALLOWED_HOSTS": ".localhost",
        "AUDIT_FOLDER": str(folder / "audit"),
        "AUDIT_KEY": "Zm9yIHRlc3RzLCBrbm93biB0byBldmVyeWJvZHkgISE=",
        "PYTHONUNBUFFERED": "1",
    }
