"""The embedded PostgreSQL: real servers in new folders, used by real processes."""

import http.client
import os
import shlex
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from django.conf import settings
from django.db import connection

from fleetprompt.postgres import embedded
from tests.docs.pages import DOCS, blocks
from tests.support import database_url, thinned, wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(scope="module")
def other_server(new_checkout):
    """The process id of another checkout's server."""
    other = new_checkout()
    other.manage("embedded", "start")
    return _pid(other.data)


def test_processes_that_start_at_once_in_a_fresh_folder_share_one_server(new_checkout):
    fresh = new_checkout()
    together = [fresh.connect() for _ in range(3)]
    servers = [process.server() for process in together]
    for process in together:
        process.leave()
    assert servers[0] == servers[1] == servers[2]
    database, _, version = servers[0]
    assert database == "fleetprompt"
    assert version.startswith("PostgreSQL 18")


@pytest.mark.long
def test_the_server_outlives_the_process_that_started_it(checkout):
    checkout.manage("embedded", "stop")
    first = checkout.connect()
    server = first.server()
    second = checkout.connect()
    assert second.server() == server
    first.kill()
    second.leave()
    third = checkout.connect()
    assert third.server() == server
    third.leave()


@pytest.mark.long
def test_two_checkouts_have_servers_and_tenants_of_their_own(checkout, new_checkout):
    other = new_checkout()
    made = checkout.manage("tenant", "create", "harbor", "--name", "Harbor", "--domain", "harbor.localhost")
    assert made.returncode == 0, made.stderr
    assert "There are no tenants yet" in other.manage("tenant", "list").stdout
    assert other.manage("embedded", "stop").stdout == "Stopped.\n"
    assert "harbor" in checkout.manage("tenant", "list").stdout


def test_its_commands_say_whether_it_runs(checkout):
    assert checkout.manage("embedded", "start").stdout.startswith("Running. Socket: ")
    assert checkout.manage("embedded", "status").stdout.startswith("Running. Socket: ")
    assert checkout.manage("embedded", "stop").stdout == "Stopped.\n"
    assert checkout.manage("embedded", "status").stdout == "Not running.\n"
    assert checkout.manage("embedded", "stop").stdout == "It was not running.\n"


@pytest.mark.long
def test_committed_rows_survive_a_killed_server(checkout):
    assert checkout.manage("embedded", "start").returncode == 0
    created = checkout.manage("tenant", "create", "pier", "--name", "Pier", "--domain", "pier.localhost")
    assert created.returncode == 0, created.stderr
    os.kill(_pid(checkout.data), signal.SIGKILL)
    wait_until(lambda: not embedded.running(checkout.data), "the server is gone")
    assert "pier" in checkout.manage("tenant", "list").stdout


@pytest.mark.long
def test_a_server_whose_connections_are_used_up_is_busy_and_not_gone(checkout):
    checkout.manage("embedded", "start")
    socket = embedded.socket_directory(checkout.data)
    taken = []
    with suppress(psycopg.OperationalError):
        while len(taken) < 1000:
            taken.append(psycopg.connect(host=str(socket), user="postgres", dbname="postgres"))
    refused = checkout.manage("tenant", "list")
    assert "is busy" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert checkout.manage("embedded", "status").stdout.startswith("Running.")
    for one in taken:
        one.close()


@pytest.mark.long
def test_a_moved_checkout_finds_its_server_again(new_checkout):
    checkout = new_checkout()
    checkout.manage("embedded", "start")
    moved = type(checkout)(checkout.folder.with_name(f"{checkout.folder.name}-moved"), checkout.user)
    checkout.folder.rename(moved.folder)
    assert embedded.running(moved.data)
    assert moved.manage("embedded", "stop").stdout == "Stopped.\n"
    assert not embedded.running(moved.data)
    moved.folder.rename(checkout.folder)


@pytest.mark.long
@pytest.mark.parametrize("stranger", ["a process that is no server", "the server of another folder"])
def test_a_pid_file_that_names_a_stranger_does_not_keep_it_from_starting(checkout, other_server, stranger):
    pid = other_server if "server of" in stranger else os.getpid()
    checkout.manage("embedded", "start")
    pid_file = checkout.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    checkout.manage("embedded", "stop")
    for file, rest in ((pid_file, lines[1:]), (checkout.data / ".s.PGSQL.5432.lock", lines[1:5])):
        file.write_text("\n".join([str(pid), *rest]) + "\n")
    done = checkout.manage("embedded", "start")
    assert done.returncode == 0, done.stderr
    assert _pid(checkout.data) != pid
    assert checkout.manage("embedded", "status").stdout.startswith("Running.")


@pytest.mark.long
def test_a_path_too_long_for_a_socket_gets_its_socket_elsewhere(new_checkout):
    deep = new_checkout(*["a-folder-with-a-long-name"] * 5)
    process = deep.connect()
    assert process.server()[0] == "fleetprompt"
    process.leave()
    assert embedded.socket_directory(deep.data) != deep.data


@pytest.mark.long
@pytest.mark.parametrize("name", ["my forum", "a, \"b\" 'c' $HOME `id` back\\slash; % häfen \U0001f6a2 -k"])
def test_a_path_of_any_characters_gets_its_socket_elsewhere(new_checkout, name):
    strange = new_checkout(name)
    made = strange.manage("tenant", "create", "harbor", "--name", "Harbor", "--domain", "harbor.localhost")
    assert made.returncode == 0, made.stderr
    assert embedded.running(strange.data) == embedded.socket_directory(strange.data) != strange.data
    done = strange.manage("embedded", "run", "psql", "-Atc", "SELECT slug FROM tenants_tenant")
    assert done.stdout == "harbor\n", done.stderr
    socket = embedded.socket_directory(strange.data)
    assert strange.manage("embedded", "stop").stdout == "Stopped.\n"
    assert not socket.exists()
    assert "harbor" in strange.manage("tenant", "list").stdout


def test_a_socket_elsewhere_is_not_made_in_another_users_folder(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    (tmp_path / "mine").mkdir()
    socket = embedded._socket_folder(folder)
    assert not socket.is_relative_to(tmp_path)
    socket.rmdir()
    socket.symlink_to(tmp_path / "mine")
    try:
        with pytest.raises(embedded.EmbeddedServerError, match="is a link"):
            embedded._socket_folder(folder)
    finally:
        socket.unlink()


@pytest.mark.long
def test_a_path_with_a_line_break_is_one_sentence(new_checkout):
    assert_one_sentence(new_checkout("two\nlines").manage("tenant", "list"), "has a line break; move it")


@pytest.mark.long
@pytest.mark.parametrize("target", ["/sys", "/dev/null", "nowhere"])
def test_a_var_that_cannot_be_written_is_one_sentence(checkout, target):
    strange = type(checkout)(checkout.folder.with_name(f"{checkout.folder.name}-var"), checkout.user)
    strange.fill()
    strange.var.symlink_to(target)
    try:
        for command in (("tenant", "list"), ("embedded", "start"), ("migrate_schemas",)):
            assert_one_sentence(strange.manage(*command), "cannot be used")
        assert strange.manage("embedded", "status").stdout == "Not running.\n"
    finally:
        shutil.rmtree(strange.folder)


@pytest.mark.long
@needs_root
def test_a_var_that_is_read_only_is_one_sentence(new_checkout):
    strange = new_checkout(user="nobody")
    strange.var.mkdir(mode=0o555)
    shutil.chown(strange.var, "nobody")
    assert_one_sentence(strange.manage("tenant", "list"), "cannot be used (Permission denied)")


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("PG_VERSION", "16\n", "is of PostgreSQL 16"),
        ("PG_VERSION", "", "is of PostgreSQL of no version"),
        ("something", "else", "initdb: "),
    ],
)
def test_a_data_folder_that_is_none_is_one_sentence(checkout, name, text, said):
    strange = type(checkout)(checkout.folder.with_name(f"{checkout.folder.name}-data"), checkout.user)
    strange.fill()
    strange.data.mkdir(parents=True)
    (strange.data / name).write_text(text)
    assert_one_sentence(strange.manage("tenant", "list"), said)
    shutil.rmtree(strange.folder)


def assert_one_sentence(done, said):
    """Check that a command failed with what is said, and nothing for programmers."""
    assert done.returncode == 1, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_the_folder_of_an_earlier_version_goes_on_after_its_next_migration(checkout):
    _create(checkout, "quay")
    with _superuser(checkout) as superuser:
        # What there was before there were two roles.
        superuser.execute("DROP OWNED BY fleetprompt_app")
        superuser.execute("DROP ROLE fleetprompt_app")
    refused = checkout.manage("tenant", "list")
    assert refused.returncode == 1
    assert "`manage.py migrate_schemas` gives it what it needs" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert checkout.manage("migrate_schemas", "--verbosity", "0").returncode == 0
    assert "quay" in checkout.manage("tenant", "list").stdout


@pytest.mark.long
def test_its_backup_comes_back_as_documented(checkout):
    _create(checkout, "lagoon")
    block = blocks(DOCS / "guides/back-up.md")[-1].text
    dump, drop, *restore = (
        shlex.split(line.removeprefix("python manage.py ")) for line in block.splitlines()
    )
    for command in (dump, drop):
        done = checkout.manage(*command)
        assert done.returncode == 0, done.stderr
    with _superuser(checkout, "postgres") as superuser:
        assert not superuser.execute("SELECT 1 FROM pg_database WHERE datname = 'fleetprompt'").fetchone()
    for command in restore:
        done = checkout.manage(*command)
        assert done.returncode == 0, done.stderr
    assert "lagoon" in checkout.manage("tenant", "list").stdout


@pytest.mark.long
def test_a_program_that_does_not_come_with_it_is_refused(checkout):
    done = checkout.manage("embedded", "run", "pg_dumpling")
    assert done.returncode == 1
    assert "program: expected one of " in done.stderr
    assert "pg_dump," in done.stderr


@pytest.mark.long
@needs_root
def test_it_works_as_a_normal_user(new_checkout):
    checkout = new_checkout(user="nobody")
    made = checkout.manage("tenant", "create", "harbor", "--name", "Harbor", "--domain", "harbor.localhost")
    assert made.returncode == 0, made.stderr
    assert {checkout.data.owner(), Path(f"/proc/{_pid(checkout.data)}").owner()} == {"nobody"}
    assert "harbor" in checkout.manage("tenant", "list").stdout


@pytest.mark.long
@needs_root
def test_another_users_server_is_refused_in_one_sentence(checkout, new_checkout):
    checkout.manage("embedded", "start")
    stranger = type(checkout)(checkout.folder, new_checkout(user="nobody").user)
    done = stranger.manage("tenant", "list")
    assert done.returncode == 1
    assert "belongs to another user" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_a_server_that_cannot_start_is_one_sentence_that_names_its_log(new_checkout):
    checkout = new_checkout()
    checkout.manage("embedded", "start")
    checkout.manage("embedded", "stop")
    (checkout.data / "postgresql.conf").write_text("no_such_setting = 1\n")
    done = checkout.manage("tenant", "list")
    assert done.returncode == 1
    assert f"its log is {checkout.data / 'log'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_a_database_url_that_server_is_used_and_no_other_started(database, new_checkout):
    checkout = new_checkout()
    done = checkout.manage("tenant", "list", DATABASE_URL=database_url())
    assert done.returncode == 0, done.stderr
    assert "alpha" in done.stdout
    assert "beta" in done.stdout
    refused = checkout.manage("embedded", "start", DATABASE_URL=database_url())
    assert refused.returncode == 1
    assert "DATABASE_URL is set" in refused.stderr
    assert not checkout.var.exists()


@pytest.mark.parametrize(
    "command",
    thinned(
        [
            ("tenant", "list"),
            ("tenant", "create", "harbor", "--name", "Harbor", "--domain", "harbor.localhost"),
            ("directive", "run", "--all-tenants"),
            ("import_posts", "manage.py", "--tenant", "harbor", "--thread", "Old posts"),
            ("migrate_schemas",),
        ],
        every=5,
    ),
)
def test_a_database_that_is_down_is_one_sentence_and_a_failure(new_checkout, command):
    checkout = new_checkout()
    done = checkout.manage(*command, DATABASE_URL="postgresql://forum:hidden-word@127.0.0.1:9/forum")
    assert done.returncode == 1
    assert "the database does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hidden-word" not in done.stderr
    assert not checkout.var.exists()


@pytest.mark.skipif("EMBEDDED" not in settings.DATABASES["default"], reason="DATABASE_URL names a server")
def test_a_further_connection_is_one_session_and_asks_for_no_other(database):
    def sessions():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute("SELECT sessions FROM pg_stat_database WHERE datname = current_database()")
            return cursor.fetchone()[0]

    before = sessions()
    for _ in range(4):
        connection.close()
        connection.ensure_connection()
    # A session is counted when it ends, if not before.
    wait_until(lambda: sessions() >= before + 4, "all are counted")
    assert sessions() <= before + 5


def test_the_url_of_the_tests_leads_to_the_database_of_the_tests(database):
    with psycopg.connect(database_url()) as connected:
        row = connected.execute("SELECT current_database()").fetchone()
    assert row is not None
    assert row[0].startswith("test_")


def _create(checkout, slug):
    done = checkout.manage("tenant", "create", slug, "--name", slug, "--domain", f"{slug}.localhost")
    assert done.returncode == 0, done.stderr


def _superuser(checkout, database="fleetprompt"):
    socket = embedded.socket_directory(checkout.data)
    return psycopg.connect(host=str(socket), user="postgres", dbname=database, autocommit=True)


def _pid(data):
    return int((data / "postmaster.pid").read_text().splitlines()[0])


@pytest.mark.long
def test_pages_are_served_after_the_server_was_killed_below_them(checkout):
    """By the threads that had a connection to it, all of them."""
    made = checkout.manage("tenant", "create", "jetty", "--name", "Jetty", "--domain", "jetty.localhost")
    assert made.returncode == 0, made.stderr
    with checkout.serving() as port:
        browsers = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(3)]
        assert [_visit(browser) for browser in browsers] == [200] * 3
        lines = [browser.sock for browser in browsers]
        server = psutil.Process(_pid(checkout.data))
        processes = [server, *server.children()]
        server.kill()
        psutil.wait_procs(processes, timeout=30)
        assert [_visit(browser) for browser in browsers] == [200] * 3
        assert [browser.sock for browser in browsers] == lines, "the same threads have answered"


def _visit(browser):
    browser.request("GET", "/", headers={"Host": "jetty.localhost"})
    answer = browser.getresponse()
    answer.read()
    return answer.status
