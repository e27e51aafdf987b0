"""A database with two roles, made by the very statements of docs/operations.md."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection, connections

from fleetprompt.postgres import embedded, owner
from tests.support import database_url

NAME = "documented"
DOCS = Path(settings.BASE_DIR) / "docs"


def server(database: str) -> dict[str, str]:
    """Return the variables by which PostgreSQL's programs find the tests' server, as its superuser."""
    wrapper: Any = type(connections["default"])({**owner.login(), "NAME": database}, "default")
    params = wrapper.get_connection_params()
    named = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    return {
        **{variable: str(params[key]) for key, variable in named.items() if params.get(key)},
        "PGDATABASE": database,
    }


def psql(statements: str) -> None:
    """Run statements in psql, as the server's superuser."""
    done = subprocess.run(
        [embedded.programs() / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"],
        input=statements,
        env=server("postgres"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def statements() -> tuple[str, str]:
    """Return the documented statements that make the roles, and those that make the database."""
    [block] = re.findall(r"```sql\n(.*?)```", (DOCS / "operations.md").read_text(), re.S)
    # Other names: the tests' server may have the real ones.
    block = block.replace("fleetprompt", NAME)
    return block[: block.index("CREATE DATABASE")], block[block.index("CREATE DATABASE") :]


@dataclass(frozen=True)
class Database:
    """The documented database, and the logins of its two roles."""

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

    def drop(self) -> None:
        """Destroy the database; the roles stay."""
        connection.close()
        psql(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE);")


@contextmanager
def documented_database() -> Iterator[Database]:
    """Follow the documentation to an empty database; remove it and its roles after the block."""
    roles, database = statements()
    leave = f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE);" + "".join(
        f"DROP ROLE IF EXISTS {NAME}_{role};" for role in ("app", "owner")
    )
    psql(leave)
    psql(roles + database)
    passwords = dict(re.findall(r"CREATE ROLE (\w+) LOGIN PASSWORD '(.*?)'", roles))
    made = Database(
        {"NAME": NAME, "USER": f"{NAME}_app", "PASSWORD": passwords[f"{NAME}_app"]},
        {"USER": f"{NAME}_owner", "PASSWORD": passwords[f"{NAME}_owner"]},
    )
    try:
        yield made
    finally:
        connection.close()
        psql(leave)


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
