"""Command `manage.py audit`: seals signals, and verifies that they are unchanged since."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from fleetprompt.cli.console import OperatorCommand, add_format
from signals.cli import proving, pruning, sealing
from signals.cli.options import add_actor, add_tenant


class Command(OperatorCommand):
    """The subcommands of the audit log."""

    help = "Seal signals, verify that they are unchanged, prove, export and prune them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands and their options."""
        parsers = parser.add_subparsers(required=True, metavar="SUBCOMMAND")
        self._add_sealing(parsers)
        self._add_proving(parsers)
        self._add_pruning(parsers)
        self._add_keys(parsers)

    def _add(self, parsers: Any, name: str, run: Callable[..., None], text: str) -> CommandParser:
        parser = self.subcommand(parsers, name, partial(run, self), text)
        add_format(parser)
        return parser

    def _add_sealing(self, parsers: Any) -> None:
        seal = self._add(parsers, "seal", sealing.seal, "Seal the signals that are in no seal yet.")
        _add_tenants(seal)
        verify = self._add(
            parsers, "verify", sealing.verify, "Recompute every seal; status 1 when something does not fit."
        )
        _add_tenants(verify)
        verify.add_argument(
            "--checkpoints", metavar="FILE", help="compare with this copy; this machine's file by default"
        )
        acknowledge = self._add(
            parsers,
            "acknowledge",
            sealing.acknowledge,
            "Say on the record that seals were lost honestly, such as by restoring an older backup, or "
            "that they claim too much since a clock was wrong.",
        )
        add_tenant(acknowledge)
        acknowledge.add_argument("--reason", required=True, metavar="TEXT", help="why, for the record")
        acknowledge.add_argument(
            "--clock",
            action="store_true",
            help="a clock was ahead, or set back: seal the signals that seals claim to cover and do not",
        )
        add_actor(acknowledge)
        acknowledge.add_argument("--yes", action="store_true", help="do not ask")

    def _add_proving(self, parsers: Any) -> None:
        proof = self._add(
            parsers, "proof", proving.proof, "Print a proof that a signal is in the log, as JSON."
        )
        proof.add_argument("signal", metavar="SIGNAL", help="the signal's id")
        add_tenant(proof)
        text = "Check a proof with a public key alone; no database is needed."
        _add_checked(self._add(parsers, "check-proof", proving.check_proof, text))
        text = "Write the sealed signals as JSON Lines of CloudEvents, with their seals, signed."
        export = self._add(parsers, "export", proving.export, text)
        add_tenant(export)
        export.add_argument(
            "--output", default="-", metavar="FILE", help="where to; standard output by default"
        )
        text = "Check an export with a public key alone; no database is needed."
        _add_checked(self._add(parsers, "check-export", proving.check_export, text))

    def _add_pruning(self, parsers: Any) -> None:
        text = "Remove old signals for good, whole seals at a time; the seals stay, and verify goes on."
        parser = self._add(parsers, "prune", pruning.prune, text)
        add_tenant(parser)
        parser.add_argument(
            "--before", required=True, metavar="ISO8601", help="only seals all of whose signals are older"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        add_actor(parser)

    def _add_keys(self, parsers: Any) -> None:
        text = "Print the public key of the key that signs: who has it can check what was signed."
        self._add(parsers, "public-key", sealing.public_key, text)
        text = "Print a new private key for the setting AUDIT_KEY; nothing is stored."
        self._add(parsers, "generate-key", sealing.generate_key, text)


def _add_checked(parser: CommandParser) -> None:
    parser.add_argument("file", metavar="FILE", help="- is standard input")
    parser.add_argument(
        "--public-key",
        action="append",
        required=True,
        metavar="KEY",
        help="what `audit public-key` prints, or a file with it or with PEM; may be repeated",
    )


def _add_tenants(parser: CommandParser) -> None:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tenant", metavar="SLUG", help="only this tenant")
    where.add_argument("--all-tenants", action="store_true", help="every tenant")
