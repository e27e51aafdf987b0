"""A database with two roles, created by the statements of docs/guides/separate-database-roles.md."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import connection

from fleetprompt.postgres import embedded, owner
from tests.docs.pages import DOCS, blocks
from tests.support import database_url

# Roles belong to the server, which the processes of a parallel run share.
NAME = f"documented_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
PAGE = DOCS / "guides/separate-database-roles.md"


def psql(server: str, statements: str) -> None:
    """Run statements in psql, as the superuser whose address `server` is."""
    done = subprocess.run(
        [embedded.programs() / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", server],
        input=statements,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def statements() -> tuple[str, str]:
    """Return the documented statements that make the roles, and those that make the database."""
    [block] = [block.text for block in blocks(PAGE) if block.language == "sql"]
    # Other names: the tests' server may have the real ones.
    block = block.replace("fleetprompt", NAME)
    return block[: block.index("CREATE DATABASE")], block[block.index("CREATE DATABASE") :]


@dataclass(frozen=True)
class Database:
    """The documented database, the logins of its two roles, and the address of the server's superuser."""

    server: str
    application: dict[str, Any]
    owner: dict[str, Any]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let this process, and those it starts, use the database for a block."""
        shared = connection.settings_dict
        before = dict(shared)
        connection.close()
        shared.update({**self.application, "OWNER": self.owner})
        try:
            yield
        finally:
            connection.close()
            shared.clear()
            shared.update(before)

    def url(self, role: dict[str, Any]) -> str:
        """Return the address of the database for one of its roles."""
        return database_url({**connection.settings_dict, **self.application, **role})

    def make_anew(self) -> None:
        """Destroy the database, and follow the documentation to an empty one for the same roles."""
        connection.close()
        psql(self.server, f"DROP DATABASE {NAME} WITH (FORCE);" + statements()[1])


@contextmanager
def documented_database() -> Iterator[Database]:
    """Follow the documentation to an empty database; remove it and its roles after the block."""
    roles, database = statements()
    leave = f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE);" + "".join(
        f"DROP ROLE IF EXISTS {NAME}_{role};" for role in ("app", "owner")
    )
    server = database_url({**owner.login(), "NAME": "postgres"})
    psql(server, leave + roles + database)
    passwords = dict(re.findall(r"CREATE ROLE (\w+) LOGIN PASSWORD '(.*?)'", roles))
    made = Database(
        server,
        {"NAME": NAME, "USER": f"{NAME}_app", "PASSWORD": passwords[f"{NAME}_app"]},
        {"USER": f"{NAME}_owner", "PASSWORD": passwords[f"{NAME}_owner"]},
    )
    try:
        yield made
    finally:
        connection.close()
        psql(server, leave)


def attack(url: str, schema: str, statement: str) -> str | None:
    """Run a statement as somebody would who found a way to run any; return what state refused it.

    Returns:
        The error's SQLSTATE; None when the statement went through.
    """
    with psycopg.connect(url, autocommit=True) as attacker:
        attacker.execute(f"SET search_path = {schema}, public")
        try:
            attacker.execute(statement)
        except psycopg.Error as error:
            return error.sqlstate
    return None
