"""Attacks by the database's owner, triggers off; `python -m tests.signals.audit.attacks` prints them."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()

from importlib import import_module

from fleetprompt.tenants.context import active_schema, active_tenant
from signals import bus
from signals.audit.format import events, merkle
from signals.audit.sealing import heads, keys, sealer, stored
from signals.models import Seal, Signal
from signals.personal import Personal
from signals.types import Subject
from tests.support import TESTER, owner_cursor

ERASE = import_module("signals.migrations.0002_lasting_columns").ERASE
TABLES = ("signals_signal", "signals_seal", "signals_sealentry", "signals_pruning")
# Places in the log that `make_log` builds: seal 1 has 0..7, seal 2 has 8..13, and two are in no seal yet.
FIRST, ERASED, MIDDLE, OTHER, NEWEST, UNSEALED = 0, 1, 5, 3, 13, 14
# Those at the first of these places are erased.
PERSONAL = (ERASED, OTHER, MIDDLE, UNSEALED)
SIZES = (8, 6)
COPY = "00000000-0000-7000-8000-00000000000a"


@dataclass(frozen=True)
class Attack:
    """A way to falsify the log.

    Args:
        what: in words.
        run: does it, given a cursor and the ids of all signals in their order.
        found: what the first finding must say was done.
        place: the place of the signal that it must name, if it can be told.
        seal: the seal that it must name.
        signal: the signal that it must name, if it is one that the attack made.
        undo: SQL that takes back what the attack did to tables.
    """

    what: str
    run: Callable[[Any, list[str]], Any]
    found: str
    place: int | None = None
    seal: int | None = None
    signal: str | None = None
    undo: str = ""

    @property
    def slug(self) -> str:
        return self.what.replace(" ", "-")


def make_log() -> list[str]:
    """Emit and seal signals in the active tenant; return their ids in order."""
    for size in SIZES:
        emit(size)
        sealer.seal()
    emit(2)
    Signal.objects.filter(dedupe_key=str(ERASED)).erase()
    return ids()


def emit(count: int) -> None:
    for _ in range(count):
        number = Signal.objects.count()
        personal = {"reason": Personal(f"Spam {number}"), "note": Personal({"shared": True, "n": -0.0})}
        bus.emit(
            "forum.post.hidden",
            {"number": number, "text": "café", **(personal if number in PERSONAL else {})},
            dedupe_key=str(number),
            actor=TESTER,
            subject=Subject("forum.post", str(number)),
            metadata={"m": 1},
            source="tests",
            correlation_id="c",
            causation_id="d",
        )


def ids() -> list[str]:
    return [str(pk) for pk in Signal.objects.values_list("pk", flat=True)]


@contextmanager
def unguarded() -> Iterator[Any]:
    """Give the owner's cursor in the active tenant's schema, with triggers off."""
    with owner_cursor() as cursor:
        cursor.execute(f'SET search_path TO "{active_schema()}", public')
        cursor.execute("SET session_replication_role = replica")
        try:
            yield cursor
        finally:
            cursor.execute("SET session_replication_role = DEFAULT")


def change(assignment: str, *places: int) -> Callable[[Any, list[str]], None]:
    def run(cursor: Any, signals: list[str]) -> None:
        chosen = [signals[place] for place in places or (MIDDLE,)]
        cursor.execute(f"UPDATE signals_signal SET {assignment} WHERE id = ANY(%s::uuid[])", [chosen])
        assert cursor.rowcount == len(chosen)

    return run


def remove(place: int, *, entry: bool = False, renumber: bool = False) -> Callable[[Any, list[str]], None]:
    def run(cursor: Any, signals: list[str]) -> None:
        cursor.execute("DELETE FROM signals_signal WHERE id = %s", [signals[place]])
        if entry:
            drop_entry(place)(cursor, signals)
        if renumber:
            cursor.execute(
                "UPDATE signals_sealentry SET index = index - 1 + 100 WHERE seal = 1 AND index > %s",
                [place],
            )
            cursor.execute("UPDATE signals_sealentry SET index = index - 100 WHERE index >= 100")

    return run


def drop_entry(place: int) -> Callable[[Any, list[str]], None]:
    def run(cursor: Any, signals: list[str]) -> None:
        cursor.execute("DELETE FROM signals_sealentry WHERE signal_id = %s", [signals[place]])
        assert cursor.rowcount == 1

    return run


def copy(place: int, recorded_at: str) -> Callable[[Any, list[str]], None]:
    """Insert a copy of a signal under another id and key."""

    def run(cursor: Any, signals: list[str]) -> None:
        columns = [field.column for field in Signal._meta.concrete_fields]
        chosen = {
            "id": f"'{COPY}'",
            "dedupe_key": "'copy'",
            "recorded_at": recorded_at,
        }
        cursor.execute(
            f"INSERT INTO signals_signal ({', '.join(columns)})"
            f" SELECT {', '.join(chosen.get(column, column) for column in columns)}"
            " FROM signals_signal WHERE id = %s",
            [signals[place]],
        )

    return run


def enter(place: int | None) -> Callable[[Any, list[str]], None]:
    """Insert a copy together with an entry: at the end of seal 1, or in its middle."""

    def run(cursor: Any, signals: list[str]) -> None:
        copy(MIDDLE, "recorded_at")(cursor, signals)
        at = SIZES[0] if place is None else place
        cursor.execute(
            "UPDATE signals_sealentry SET index = index + 101 WHERE seal = 1 AND index >= %s", [at]
        )
        cursor.execute("UPDATE signals_sealentry SET index = index - 100 WHERE index >= 100")
        cursor.execute(
            "INSERT INTO signals_sealentry (signal_id, seal, index, leaf) VALUES (%s, 1, %s, %s)",
            [COPY, at, b"\0" * 32],
        )
        fit_entries(cursor)

    return run


def swap_entries(cursor: Any, signals: list[str]) -> None:
    cursor.execute(
        "UPDATE signals_sealentry SET index = index + 100 WHERE signal_id = ANY(%s::uuid[])",
        [[signals[OTHER], signals[MIDDLE]]],
    )
    cursor.execute(
        "UPDATE signals_sealentry SET index = CASE signal_id WHEN %s THEN %s ELSE %s END"
        " WHERE index >= 100",
        [signals[OTHER], MIDDLE, OTHER],
    )


def swap(column: str) -> Callable[[Any, list[str]], None]:
    def run(cursor: Any, signals: list[str]) -> None:
        cursor.execute(
            f"UPDATE signals_signal AS one SET {column} = other.{column} FROM signals_signal AS other"
            " WHERE one.id <> other.id AND one.id = ANY(%(both)s::uuid[])"
            " AND other.id = ANY(%(both)s::uuid[])",
            {"both": [signals[OTHER], signals[MIDDLE]]},
        )
        assert cursor.rowcount == 2

    return run


def move_personal(cursor: Any, signals: list[str]) -> None:
    """Give one signal the personal values of another, which then seems to be erased."""
    swap("personal")(cursor, signals)
    change("personal = NULL", OTHER)(cursor, signals)


def commit_to(value: str) -> Callable[[Any, list[str]], None]:
    """Put a commitment into a payload, with the opening that fits it."""

    def run(cursor: Any, signals: list[str]) -> None:
        made = Personal(value)
        cursor.execute(
            "UPDATE signals_signal SET payload = payload || %s, personal = %s WHERE id = %s",
            [
                json.dumps({"text": made.commitment}),
                json.dumps({"text": [made.salt, made.value]}),
                signals[FIRST],
            ],
        )

    return run


def fit_entries(cursor: Any) -> None:
    """Make the entries of seal 1 fit the signals as they are now."""
    rows = [row for part in stored.parts(Seal.objects.get(number=1)) for row in part]
    for row in rows:
        leaf = events.leaf(row, active_tenant().slug)
        cursor.execute("UPDATE signals_sealentry SET leaf = %s WHERE signal_id = %s", [leaf, row[0]])


def fit_seal(cursor: Any, key: keys.PrivateKey | None = None) -> None:
    """Make the root and size of seal 1 fit its entries, and sign it if there is a key."""
    cursor.execute("SELECT leaf FROM signals_sealentry WHERE seal = 1 ORDER BY index")
    leaves = [bytes(leaf) for (leaf,) in cursor.fetchall()]
    root = merkle.root(leaves).hex()
    cursor.execute("UPDATE signals_seal SET root = %s, size = %s WHERE number = 1", [root, len(leaves)])
    if key:
        sign_all(cursor, key)


def sign_all(cursor: Any, key: keys.PrivateKey) -> None:
    previous = heads.GENESIS
    for seal in Seal.objects.order_by("number"):
        seal.previous = previous
        signed = heads.sign(heads.of(seal, active_tenant()).head, key)
        cursor.execute(
            "UPDATE signals_seal SET previous = %s, key = %s, signature = %s WHERE number = %s",
            [previous, key.public.id, signed.signature, seal.number],
        )
        previous = signed.hash


def rewrite(*, entries: bool = False, seal: bool = False, key: Callable[[], Any] | None = None) -> Any:
    """Change a signal and let everything else fit."""

    def run(cursor: Any, signals: list[str]) -> None:
        change("payload = '{}'")(cursor, signals)
        if entries:
            fit_entries(cursor)
        if seal:
            fit_seal(cursor, key and key())

    return run


def foreign_key() -> keys.PrivateKey:
    return keys.parse_private(keys.generate(), "a new key")


def set_seal(assignment: str, number: int = 1) -> Callable[[Any, list[str]], None]:
    def run(cursor: Any, signals: list[str]) -> None:
        cursor.execute(f"UPDATE signals_seal SET {assignment} WHERE number = %s", [number])

    return run


def remove_seal(number: int, *, entries: bool = True, again: bool = False) -> Any:
    """Remove a seal with its signals; the program may seal what comes next under its number."""

    def run(cursor: Any, signals: list[str]) -> None:
        cursor.execute(
            "DELETE FROM signals_signal USING signals_sealentry AS e"
            " WHERE e.signal_id = id AND e.seal = %s",
            [number],
        )
        if entries:
            cursor.execute("DELETE FROM signals_sealentry WHERE seal = %s", [number])
        cursor.execute("DELETE FROM signals_seal WHERE number = %s", [number])
        if again:
            cursor.execute("SET session_replication_role = DEFAULT")
            sealer.seal()

    return run


def restore(*, again: bool = False) -> Any:
    """Restore a backup that is one seal older."""

    def run(cursor: Any, signals: list[str]) -> None:
        backup = dump(cursor)
        cursor.execute("SET session_replication_role = DEFAULT")
        emit(3)
        sealer.seal()
        cursor.execute("SET session_replication_role = replica")
        load(cursor, backup)
        if again:
            cursor.execute("SET session_replication_role = DEFAULT")
            emit(4)
            sealer.seal()

    return run


def dump(cursor: Any) -> dict[str, bytes]:
    """Return the rows of all tables of the log, as pg_dump writes them."""
    backup = {}
    for table in TABLES:
        out = io.BytesIO()
        with cursor.copy(f"COPY {table} TO STDOUT") as rows:
            for part in rows:
                out.write(part)
        backup[table] = out.getvalue()
    return backup


def load(cursor: Any, backup: dict[str, bytes]) -> None:
    """Replace the rows of all tables of the log by those of a backup."""
    for table, rows in backup.items():
        cursor.execute(f"DELETE FROM {table}")
        with cursor.copy(f"COPY {table} FROM STDIN") as target:
            target.write(rows)


def forge_pruning(cursor: Any, signals: list[str]) -> None:
    remove_seal_signals(cursor)
    seal = Seal.objects.get(number=1)
    cursor.execute(
        "INSERT INTO signals_pruning VALUES (1, %s, %s, %s, 1, %s, 8, now(), now(), 1)",
        [heads.GENESIS, seal.key, seal.signature, heads.of(seal, active_tenant()).hash],
    )


def remove_seal_signals(cursor: Any, *_: Any) -> None:
    cursor.execute(
        "DELETE FROM signals_signal USING signals_sealentry AS e WHERE e.signal_id = id AND e.seal = 1"
    )
    cursor.execute("DELETE FROM signals_sealentry WHERE seal = 1")


def start_over(cursor: Any, signals: list[str]) -> None:
    """Remove everything, make the tenant look like a new one, and let the program seal a new log."""
    for table in TABLES:
        cursor.execute(f"DELETE FROM {table}")
    cursor.execute("UPDATE public.tenants_tenant SET created_at = created_at + interval '1 second'")
    active_tenant().refresh_from_db()
    cursor.execute("SET session_replication_role = DEFAULT")
    emit(2)
    sealer.seal()


def alter(statements: str) -> Callable[[Any, list[str]], None]:
    """Change what a table is, and no row of it."""

    def run(cursor: Any, signals: list[str]) -> None:
        cursor.execute(statements)

    return run


_EARLIER = "recorded_at - interval '1 minute'"

ATTACKS = [
    Attack("payload changed", change("payload = payload || '{\"number\": 99}'"), "changed", MIDDLE, 1),
    Attack("actor changed", change("actor_id = 'somebody', actor_label = ''"), "changed", MIDDLE, 1),
    Attack(
        "time of occurring changed",
        change("occurred_at = occurred_at - interval '1 us'"),
        "changed",
        MIDDLE,
        1,
    ),
    Attack("time of recording changed", change(f"recorded_at = {_EARLIER}"), "changed", MIDDLE, 1),
    Attack("id changed", change("id = gen_random_uuid()"), "removed", MIDDLE, 1),
    Attack("name changed", change("name = 'forum.post.unhidden'"), "changed", MIDDLE, 1),
    Attack("dedupe key changed", change("dedupe_key = 'x'"), "changed", MIDDLE, 1),
    Attack("metadata changed", change("metadata = '{}'"), "changed", MIDDLE, 1),
    Attack(
        "subject's type and id change places",
        change("subject_type = 'forum', subject_id = 'post:5'"),
        "changed",
        MIDDLE,
        1,
    ),
    Attack("source changed", change("source = ''"), "changed", MIDDLE, 1),
    Attack(
        "correlation and causation change places",
        change("correlation_id = 'd', causation_id = 'c'"),
        "changed",
        MIDDLE,
        1,
    ),
    Attack(
        "a letter in another normal form",
        change("payload = jsonb_set(payload, '{text}', to_jsonb(normalize('café', NFD)))"),
        "changed",
        MIDDLE,
        1,
    ),
    Attack(
        "the oldest and the newest changed", change("payload = '{}'", FIRST, NEWEST), "changed", FIRST, 1
    ),
    Attack("the oldest removed", remove(FIRST), "removed", FIRST, 1),
    Attack("one in the middle removed", remove(MIDDLE), "removed", MIDDLE, 1),
    Attack("the newest sealed one removed", remove(NEWEST), "removed", NEWEST, 2),
    Attack("one removed with its entry", remove(MIDDLE, entry=True), "removed", None, 1),
    Attack("the oldest removed with its entry", remove(FIRST, entry=True), "removed", None, 1),
    Attack("the newest sealed one removed with its entry", remove(NEWEST, entry=True), "removed", None, 2),
    Attack(
        "one removed, the entries renumbered", remove(MIDDLE, entry=True, renumber=True), "removed", None, 1
    ),
    Attack("all signals of a seal removed with their entries", remove_seal_signals, "removed", None, 1),
    Attack("the payloads of two swapped", swap("payload"), "changed", OTHER, 1),
    Attack("the times of two swapped", swap("recorded_at"), "changed", OTHER, 1),
    Attack("the entries of two swapped", swap_entries, "reordered", MIDDLE, 1),
    Attack("a copy with the same time added", copy(MIDDLE, "recorded_at"), "inserted", None, 1, COPY),
    Attack("a copy a minute earlier added", copy(MIDDLE, _EARLIER), "inserted", None, 1, COPY),
    Attack("a copy with an entry added at the end", enter(None), "inserted", None, 1, COPY),
    Attack("a copy with an entry added in the middle", enter(MIDDLE), "inserted", None, 1, COPY),
    Attack("an entry removed", drop_entry(MIDDLE), "entries", MIDDLE, 1),
    Attack(
        "an entry's hash changed",
        lambda cursor, signals: cursor.execute(
            "UPDATE signals_sealentry SET leaf = sha256('') WHERE index = 5 AND seal = 1"
        ),
        "entries",
        MIDDLE,
        1,
    ),
    Attack("payload and entry changed", rewrite(entries=True), "entries", None, 1),
    Attack("payload, entry and root changed", rewrite(entries=True, seal=True), "seals", None, 1),
    Attack(
        "payload, entry and root changed, signed with another key",
        rewrite(entries=True, seal=True, key=foreign_key),
        "seals",
        None,
        1,
    ),
    Attack(
        "payload, entry and root changed, signed with the stolen key",
        rewrite(entries=True, seal=True, key=keys.private_key),
        "checkpoints",
        None,
        1,
    ),
    Attack("a seal's horizon changed", set_seal("horizon = horizon - interval '1 day'"), "seals", None, 1),
    Attack("a seal's time changed", set_seal("sealed_at = sealed_at - interval '1 day'"), "seals", None, 1),
    Attack("the first seal removed", remove_seal(1), "seals", None, 1),
    Attack("the newest seal removed with its signals", remove_seal(2), "checkpoints", None, 2),
    Attack(
        "the newest seal removed, its entries left", remove_seal(2, entries=False), "checkpoints", None, 2
    ),
    Attack("the newest seal removed, then sealed anew", remove_seal(2, again=True), "checkpoints", None, 2),
    Attack("an older backup restored", restore(), "checkpoints", None, 3),
    Attack("an older backup restored, then sealed anew", restore(again=True), "checkpoints", None, 3),
    Attack("a pruning forged", forge_pruning, "prunings", None, 1),
    *(
        Attack(what, change(f"personal = {value}"), "personal", MIDDLE, 1)
        for what, value in (
            ("a personal value changed", """jsonb_set(personal, '{reason,1}', '"Ham"')"""),
            ("a number in a personal value changed", "jsonb_set(personal, '{note,1,n}', '1')"),
            ("a salt changed", f"""jsonb_set(personal, '{{reason,0}}', '"{"A" * 22}"')"""),
            (
                "a salt in another spelling",
                "jsonb_set(personal, '{reason,0}', to_jsonb(personal#>>'{reason,0}' || '=='))",
            ),
            (
                "two personal values of a signal swapped",
                "jsonb_build_object('reason', personal->'note', 'note', personal->'reason')",
            ),
            ("one of two personal values removed", "personal - 'note'"),
            ("a personal value added", "personal || jsonb_build_object('other', personal->'note')"),
            ("all personal values removed and no NULL left", "'{}'"),
            ("personal values become a JSON null", "'null'"),
            ("personal values become a list", "'[]'"),
            ("personal values become a text", "to_jsonb(personal::text)"),
            (
                "a personal value without its salt",
                "jsonb_set(personal, '{reason}', personal#>'{reason,1}')",
            ),
            ("a salt that is a number", "jsonb_set(personal, '{reason,0}', '5')"),
            ("a salt that is no base64", """jsonb_set(personal, '{reason,0}', '"é"')"""),
            (
                "a personal value of a hundred thousand digits",
                "jsonb_set(personal, '{reason,1}', '1e99999')",
            ),
            (
                "a personal value of thousands of levels",
                "jsonb_set(personal, '{reason,1}', (repeat('[', 6000) || repeat(']', 6000))::jsonb)",
            ),
        )
    ),
    Attack("the personal values of two signals swapped", swap("personal"), "personal", OTHER, 1),
    Attack("personal values moved to another signal", move_personal, "personal", MIDDLE, 1),
    Attack(
        "personal values given to a signal that commits to none",
        change(f'personal = \'{{"reason": ["{"A" * 22}", "Spam"]}}\'', FIRST),
        "personal",
        FIRST,
        1,
    ),
    Attack(
        "other values given to a signal whose own were erased",
        change(f'personal = \'{{"reason": ["{"A" * 22}", "Spam"]}}\'', ERASED),
        "personal",
        ERASED,
        1,
    ),
    Attack("a value replaced by a commitment", commit_to("Spam"), "changed", FIRST, 1),
    Attack(
        "a personal value changed in a signal in no seal yet",
        change("""personal = jsonb_set(personal, '{reason,1}', '"Ham"')""", UNSEALED),
        "personal",
        UNSEALED,
    ),
    Attack("everything removed, the tenant made to look new", start_over, "checkpoints"),
]
_SWALLOW = "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
_NEVER = "CREATE FUNCTION never(varchar, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';"
_OPERATOR = "OPERATOR = (LEFTARG = varchar, RIGHTARG = text, FUNCTION = never)"
_GUARD = "TRIGGER signals_append_only BEFORE UPDATE ON signals_signal FOR EACH ROW"
_REFUSE = "EXECUTE FUNCTION signals_refuse_all_but_erasing()"
GUARD_FUNCTION = ERASE[ERASE.index("FUNCTION") : ERASE.index("CREATE OR REPLACE TRIGGER")]
_HIDDEN = "(name <> 'forum.post.hidden')"
HIDING = [
    Attack(what, alter(statements), "tables", undo=undo)
    for what, statements, undo in (
        (
            "a policy that hides some signals from the program",
            f"CREATE POLICY p ON signals_signal FOR SELECT USING {_HIDDEN};"
            " CREATE POLICY q ON signals_signal FOR INSERT WITH CHECK (true);"
            " ALTER TABLE signals_signal ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            "DROP POLICY p ON signals_signal; DROP POLICY q ON signals_signal;"
            " ALTER TABLE signals_signal DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY",
        ),
        (
            "row security without a policy",
            "ALTER TABLE signals_sealentry ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE signals_sealentry DISABLE ROW LEVEL SECURITY",
        ),
        (
            "a policy that waits for row security",
            f"CREATE POLICY p ON signals_signal USING {_HIDDEN}",
            "DROP POLICY p ON signals_signal",
        ),
        (
            "a trigger that drops new signals",
            f"{_SWALLOW} CREATE TRIGGER a BEFORE INSERT ON signals_signal FOR EACH ROW WHEN"
            " (NEW.name = 'forum.post.hidden') EXECUTE FUNCTION swallow()",
            "DROP FUNCTION swallow CASCADE",
        ),
        (
            "a trigger that changes new signals, and is disabled at times",
            f"{_SWALLOW} CREATE TRIGGER a BEFORE INSERT ON signals_signal FOR EACH ROW"
            " EXECUTE FUNCTION swallow(); ALTER TABLE signals_signal DISABLE TRIGGER a",
            "DROP FUNCTION swallow CASCADE",
        ),
        (
            "a rule that drops new signals",
            "CREATE RULE r AS ON INSERT TO signals_signal DO INSTEAD NOTHING",
            "DROP RULE r ON signals_signal",
        ),
        (
            "a view in the table's place",
            "ALTER TABLE signals_signal RENAME TO kept;"
            f" CREATE VIEW signals_signal AS SELECT * FROM kept WHERE {_HIDDEN};"
            " GRANT SELECT ON signals_signal TO PUBLIC",
            "DROP VIEW signals_signal; ALTER TABLE kept RENAME TO signals_signal",
        ),
        (
            "a table that inherits",
            "CREATE TABLE more () INHERITS (signals_signal); GRANT SELECT ON more TO PUBLIC",
            "DROP TABLE more",
        ),
        (
            "a table that it inherits from",
            "CREATE TABLE more (name varchar(255) NOT NULL); ALTER TABLE signals_signal INHERIT more",
            "ALTER TABLE signals_signal NO INHERIT more; DROP TABLE more",
        ),
        (
            "a table that a crash empties",
            "ALTER TABLE signals_pruning SET UNLOGGED",
            "ALTER TABLE signals_pruning SET LOGGED",
        ),
        (
            "an index that makes new signals duplicates",
            "CREATE UNIQUE INDEX u ON signals_signal ((0)) WHERE name = 'forum.post.deleted'",
            "DROP INDEX u",
        ),
        (
            "a key with a collation of its own",
            'CREATE UNIQUE INDEX u ON signals_signal (dedupe_key COLLATE "C")',
            "DROP INDEX u",
        ),
        (
            "a column of another type",
            "ALTER TABLE signals_signal ALTER source TYPE text",
            "ALTER TABLE signals_signal ALTER source TYPE varchar(255)",
        ),
        (
            "a time that is rounded",
            'ALTER TABLE signals_pruning ALTER "before" TYPE timestamptz(0)',
            'ALTER TABLE signals_pruning ALTER "before" TYPE timestamptz',
        ),
        (
            "a guard that looks for prunings with names of its own",
            "ALTER FUNCTION signals_refuse_unpruned() SET search_path = public, pg_catalog",
            "ALTER FUNCTION signals_refuse_unpruned() RESET ALL",
        ),
        (
            "another time of recording by default",
            "ALTER TABLE signals_signal ALTER recorded_at SET DEFAULT clock_timestamp() + interval '1 day'",
            "ALTER TABLE signals_signal ALTER recorded_at SET DEFAULT clock_timestamp()",
        ),
        (
            "an operator by which nothing is equal",
            f"{_NEVER} CREATE {_OPERATOR}",
            "DROP OPERATOR = (varchar, text); DROP FUNCTION never",
        ),
        (
            "such an operator in the public schema",
            f"{_NEVER} CREATE {_OPERATOR.replace('OPERATOR =', 'OPERATOR public.=')}",
            "DROP OPERATOR public.= (varchar, text); DROP FUNCTION never",
        ),
        (
            "a function that shadows PostgreSQL's own",
            "CREATE FUNCTION format(text, name) RETURNS text LANGUAGE sql AS 'SELECT $1'",
            "DROP FUNCTION format(text, name)",
        ),
        (
            "a guard with a condition",
            f"CREATE OR REPLACE {_GUARD} WHEN (false) {_REFUSE}",
            f"CREATE OR REPLACE {_GUARD} {_REFUSE}",
        ),
        (
            "a guard for one column",
            f"CREATE OR REPLACE {_GUARD.replace('UPDATE', 'UPDATE OF id')} {_REFUSE}",
            f"CREATE OR REPLACE {_GUARD} {_REFUSE}",
        ),
        (
            "a guard that lets personal values change",
            "CREATE OR REPLACE FUNCTION signals_refuse_all_but_erasing() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN IF OLD.payload = NEW.payload THEN RETURN NEW; END IF; RAISE 'refused'; END $$",
            f"CREATE OR REPLACE {GUARD_FUNCTION}",
        ),
        (
            "a guard that is off",
            "ALTER TABLE signals_seal DISABLE TRIGGER seal_append_only",
            "ALTER TABLE signals_seal ENABLE TRIGGER seal_append_only",
        ),
        (
            "a guard that is gone",
            "DROP TRIGGER signals_append_only ON signals_signal",
            f"CREATE {_GUARD} {_REFUSE}",
        ),
    )
]
"""What changes no row, and hides some from the program, keeps new ones out, or opens the way."""
YOUNGER = [
    Attack("a signal in no seal yet changed", change("payload = '{}'", -1), ""),
    Attack("a signal in no seal yet removed", remove(-1), ""),
    Attack("a signal added with a time after the newest seal", copy(MIDDLE, "clock_timestamp()"), ""),
]
"""What nobody can find: signals younger than the newest seal are not in it."""


def main() -> None:
    """Try every attack on a log of its own and print what `audit verify` says."""
    from django.core.management import CommandError, call_command
    from rich.console import Console
    from rich.table import Table

    from fleetprompt.tenants.context import in_tenant
    from fleetprompt.tenants.provisioning import create_tenant
    from tests.support import empty_tenants, own_database

    table = Table("attack", "found", "status", "first finding")
    with own_database():
        create_tenant("alpha", name="Alpha", domain="alpha.localhost")
        for attack in [None, *ATTACKS, *HIDING, *YOUNGER]:
            with in_tenant("alpha"):
                signals = make_log()
                if attack:
                    with unguarded() as cursor:
                        attack.run(cursor, signals)
            out, status = io.StringIO(), 0
            try:
                call_command("audit", "verify", "--tenant", "alpha", stdout=out)
            except CommandError:
                status = 1
            if attack and attack.undo:
                with in_tenant("alpha"), unguarded() as cursor:
                    cursor.execute(attack.undo)
            said = [line for line in out.getvalue().splitlines() if line.startswith("FOUND")]
            table.add_row(
                attack.what if attack else "none",
                "yes" if said else "no",
                str(status),
                said[0][7:] if said else "",
            )
            empty_tenants()
    Console(width=200 if not sys.stdout.isatty() else None).print(table)


if __name__ == "__main__":
    main()
