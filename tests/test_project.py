"""The project's own rules: imports go one way, migrations are complete, one module changes statuses."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from tests.support import manage

REQUIREMENTS = sorted((settings.BASE_DIR / "requirements").glob("*.txt"))


def test_imports_go_one_way():
    linter = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run(
        [linter, "--no-cache"], cwd=settings.BASE_DIR, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "0 broken" in found.stdout


def test_no_migration_is_missing(database):
    found = manage("makemigrations", "--check", "--dry-run")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "No changes detected" in found.stdout


@pytest.mark.parametrize("file", REQUIREMENTS, ids=lambda file: file.name)
def test_pins_have_hashes_and_name_no_index(file):
    lines = [line for line in file.read_text().splitlines() if line and line.strip()[0] != "#"]
    pins = [line for line in lines if not line.startswith(" ")]
    assert pins
    assert all("==" in pin and pin.endswith("\\") for pin in pins)
    assert all(line.strip().startswith("--hash=sha256:") for line in lines if line.startswith(" "))
    assert "://" not in file.read_text()


def test_both_requirements_files_agree():
    base, dev = (_pins(settings.BASE_DIR / "requirements" / name) for name in ("base.txt", "dev.txt"))
    assert base <= dev


def _pins(file: Path) -> set[str]:
    """Return the pins; what one file wants on some systems only, the other may want on all."""
    lines = file.read_text().splitlines()
    return {line.split(" ")[0] for line in lines if line[:1].isalnum()}


def test_fleetprompt_names_no_module_of_the_apps():
    """A dotted name in a string is an import that the linter does not see."""
    named = re.compile(r"""["'](?:directives|signals|forums)\.\w+\.""")
    allowed = {"settings.py", "urls.py"}
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted((settings.BASE_DIR / "fleetprompt").rglob("*.py"))
        if path.name not in allowed and "demo" not in path.parts
        for line in path.read_text().splitlines()
        if named.search(line)
    ]
    assert not found
    assert named.search('"directives.admin.dashboard.of_tenant"')


PACKAGES = ("directives", "fleetprompt", "forums", "signals", "tests")


def test_what_modules_import_from_the_project_exists():
    """The long tests import modules that no short test enters."""
    modules = {
        path.relative_to(settings.BASE_DIR).as_posix(): ast.parse(path.read_text())
        for package in PACKAGES
        for path in (settings.BASE_DIR / package).rglob("*.py")
    }
    names = {module: set(_names(tree)) for module, tree in modules.items()}
    missing = []
    for module, tree in modules.items():
        for node in ast.walk(tree):
            if (
                not isinstance(node, ast.ImportFrom)
                or (node.module or "").partition(".")[0] not in PACKAGES
            ):
                continue
            folder = node.module.replace(".", "/")
            known = names.get(f"{folder}.py") or names.get(f"{folder}/__init__.py", set())
            missing += [
                f"{module}: {node.module}.{one.name}"
                for one in node.names
                if one.name not in known | {"*"}
                and "*" not in known
                and one.name != "__name__"
                and not (settings.BASE_DIR / folder / one.name).is_dir()
                and f"{folder}/{one.name}.py" not in modules
            ]
    assert not missing


def _names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module binds anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]


TRANSITIONS = "directives/lifecycle/transitions.py"
WRITES = re.compile(r"(UPDATE|INSERT INTO|MERGE INTO|DELETE FROM)\s+(?:\S+\.)?directives_directive\b")
WRITERS = ("update", "bulk_update", "save", "create", "bulk_create", "get_or_create", "update_or_create")


def test_only_transitions_changes_the_status_of_a_directive():
    """Requests insert it."""
    found = set()
    for package in ("directives", "forums", "signals", "fleetprompt"):
        for path in (settings.BASE_DIR / package).rglob("*.py"):
            module = path.relative_to(settings.BASE_DIR).as_posix()
            if "/migrations/" in module:
                continue
            found |= {(module, what) for what in _writes(path.read_text())}
    # A tenant has a status, too.
    assert {one for one in found if one[0] != TRANSITIONS and one[1] != "tenant.status ="} == {
        ("directives/sql.py", "UPDATE"),
        ("directives/requesting/insertion.py", "INSERT INTO"),
        ("directives/lifecycle/erasing.py", "update(personal)"),
        ("directives/lifecycle/erasing.py", "update(last_error)"),
    }
    assert (TRANSITIONS, "update(**changes)") in found
    assert (
        "SELECT id, name, 'requested',"
        in (settings.BASE_DIR / "directives/requesting/insertion.py").read_text()
    )


def test_only_transitions_sends_the_sql_that_changes_directives():
    changing = {
        node.targets[0].id
        for node in ast.parse((settings.BASE_DIR / "directives/sql.py").read_text()).body
        if isinstance(node, ast.Assign) and any(_writes(ast.unparse(node.value)))
    }
    assert changing == {"CLAIM", "RELEASE", "RENEW", "SUCCEED", "SET_ASIDE"}
    users = {
        path.relative_to(settings.BASE_DIR).as_posix()
        for path in (settings.BASE_DIR / "directives").rglob("*.py")
        if path.name != "sql.py" and re.search(rf"\b({'|'.join(changing)})\b", path.read_text())
    }
    assert users == {TRANSITIONS}


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("Directive.objects.filter(pk=pk).update(status='failed')", "update(status)"),
        ("rows = Directive.objects.all()\nrows.update(status='failed')", "update(status)"),
        ("directive.status = 'failed'\ndirective.save()", "directive.status ="),
        ("SQL = f\"UPDATE {schema}.directives_directive SET status = 'failed'\"", "UPDATE"),
    ],
)
def test_a_change_of_a_status_is_found(source, what):
    assert what in list(_writes(source))


def _writes(source: str) -> Iterator[str]:
    """Yield how a module writes directives: SQL, calls of the ORM, assignments to a status."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            yield from (found[1] for found in WRITES.finditer(ast.unparse(node)))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            names = [f"{one.arg}" if one.arg else f"**{ast.unparse(one.value)}" for one in node.keywords]
            of = ast.unparse(node.func.value)
            if node.func.attr in WRITERS and ("irective" in of or "status" in names) and "Tenant" not in of:
                yield f"{node.func.attr}({', '.join(names)})"
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr == "status":
            yield f"{ast.unparse(node)} ="
