"""`manage.py serve`: web server and cluster in one terminal, for development."""

import os
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Printer

from fleetprompt.cli import web_addresses
from fleetprompt.cli.console import OperatorCommand
from fleetprompt.cli.web_addresses import local
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.provisioning import is_unserved

HOST = "127.0.0.1"
CHECK_SECONDS = 1
"""How often the server checks that its terminal is open."""


class Command(OperatorCommand):
    """Migrates, prints the addresses, and runs the Procfile until Ctrl-C."""

    help = "Bring the database up to date, print the addresses, run web server and cluster together."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the option."""
        web_addresses.add_port(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve."""
        port = options["port"]
        _check_port(port)
        call_command("migrate_schemas", verbosity=0)
        self._print_addresses(port)
        sys.exit(_run(port))

    def _print_addresses(self, port: int) -> None:
        host = settings.OPERATOR_HOSTS[0] if settings.OPERATOR_HOSTS else HOST
        lacks = "; nobody can log in yet: `manage.py createsuperuser` makes a user"
        if get_user_model()._default_manager.filter(is_staff=True, is_active=True).exists():
            lacks = ""
        self.stdout.write(
            f"Operators: {local(host, port, '/admin/')} (ready: {local(host, port, '/readyz')}{lacks})"
        )
        tenants = Tenant.objects.filter(status=Tenant.Status.ACTIVE).prefetch_related("domains")
        pairs = [(tenant.name, domain.domain) for tenant in tenants for domain in tenant.domains.all()]
        for name, host in pairs:
            note = " (not served: ALLOWED_HOSTS does not contain it)" if is_unserved(host) else ""
            self.stdout.write(f"{name}: {local(host, port)} (admin: {local(host, port, '/admin/')}){note}")
        if not tenants:
            self.stdout.write(
                "There are no communities yet: `make demo` makes two, `manage.py tenant create` yours."
            )
        if advice := web_addresses.hosts_advice(host for _, host in pairs):
            self.stdout.write(advice)
        self.stdout.write("Ctrl-C stops everything.\n")
        self.stdout.flush()


def _check_port(port: int) -> None:
    web_addresses.check_port("--port", port)
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        raise CommandError(
            f"port {port} on {HOST} cannot be used ({os.strerror(error.errno or 0)}); "
            "choose another with --port, or make run PORT=8001"
        ) from None


def _run(port: int) -> int:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": programs, "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    terminal = _Terminal()
    manager = Manager(Printer(terminal))
    for name, command in parse_procfile((settings.BASE_DIR / "Procfile").read_text()).processes.items():
        manager.add_process(name, command, env=environment, cwd=str(settings.BASE_DIR))
    # A process that nohup has started ignores it.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, terminal.hang_up)
        threading.Thread(target=terminal.watch, name="terminal", daemon=True).start()
    manager.loop()
    return int(manager.returncode or 0)


class _Terminal:
    """Standard output that may be closed while the servers run, such as a window or a pipe."""

    _open = True

    def write(self, text: str) -> None:
        """Print `text` while the output is open."""
        try:
            if self._open:
                sys.stdout.write(text)
                sys.stdout.flush()
        except OSError:
            self._open = False

    def flush(self) -> None:
        """Do nothing: `write` flushes."""

    def isatty(self) -> bool:
        """Return whether colours make sense."""
        return sys.stdout.isatty()

    def watch(self) -> None:
        """Hang up when the terminal was closed.

        The system signals the leader of the terminal's session alone; that may be `make`, which does not
        pass the signal on.
        """
        try:
            terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
        except OSError:
            return
        poll = select.poll()
        poll.register(terminal, 0)
        while not poll.poll(CHECK_SECONDS * 1000):
            pass
        self.hang_up()

    def hang_up(self, *_signal: Any) -> None:
        """Stop printing, and stop as on SIGTERM."""
        self._open = False
        os.kill(os.getpid(), signal.SIGTERM)
