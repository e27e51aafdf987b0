"""Documents agree with the code: tables are complete, checks are the same everywhere."""

import ast
import re
import subprocess
import sys

import pytest
from django.conf import settings

from directives import registry
from directives.executing.retry import RetryPolicy
from directives.handlers import Context, DirectivePayload, Handler
from fleetprompt.environment import Environment
from fleetprompt.telemetry import metrics
from tests.docs import links
from tests.docs.pages import CODE, DOCS, PAGES, ROOT, blocks, name, prose
from tests.signals.audit.attacks import ATTACKS, HIDING, YOUNGER

FOREIGN_VARIABLES = {"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_TRACES_SAMPLER", "OTEL_SERVICE_NAME"} | {
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_BSP_",
}
CHECKED = ("directives", "signals", "forums")


def test_links_lead_to_files_and_headings():
    assert list(links.broken(PAGES)) == []


def test_documents_that_code_names_exist():
    assert list(links.unknown(CODE)) == []


def test_dead_names_of_documents_in_code_are_found(tmp_path):
    code = tmp_path / "code.py"
    dead = "docs" + "/nowhere.md"
    code.write_text(f'"""See docs/walk.md#running and {dead}."""\n\n# docs/walk.md{"#nothing"}\n')
    assert list(links.unknown([code])) == [
        f"code.py:1: there is no {dead}",
        "code.py:3: docs/walk.md has no heading #nothing",
    ]


def test_every_page_is_reached_and_leads_on():
    assert list(links.unreachable()) == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / "index.md").write_text("# Index\n\n[a](one.md)\n[b](nowhere.md)\n")
    (tmp_path / "one.md").write_text(
        "[Up](index.md)\n\n`[c](code.md)` [d](index.md#nothing) [e](index.md#index)\n"
    )
    (tmp_path / "two.md").write_text("# Two\n\nNext: nothing\n")
    pages = sorted(tmp_path.glob("*.md"))
    assert list(links.broken(pages)) == [
        "index.md: there is no nowhere.md",
        "one.md: index.md has no heading #nothing",
    ]
    assert list(links.unreachable(tmp_path)) == [
        "two.md: no path of links leads to it from index.md",
        "two.md: its first line does not link back to an index",
        "two.md: its last line does not link to another page",
    ]


def test_generated_pages_are_what_the_code_says():
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.reference", "--check"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_dependency_has_a_use():
    project = (ROOT / "pyproject.toml").read_text()
    uses = (DOCS / "reference/dependencies.md").read_text().lower().replace("-", " ")
    names = re.findall(r'^    "([a-z0-9-]+)[\[>]', project, re.M)
    assert len(names) > 20
    assert [name for name in names if name.replace("-", " ") not in uses] == []


def test_pre_commit_makes_the_checks_of_make_check():
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.M)[1]
    commands = [line.strip().lstrip("@") for line in recipe.splitlines()]
    told = [
        command.replace("$(MANAGE)", "$(BIN)/python manage.py").replace("$(BIN)", ".venv/bin")
        for command in commands
    ]
    assert re.findall(r"entry: (.+)", (ROOT / ".pre-commit-config.yaml").read_text()) == told


def test_every_signal_is_documented():
    page = (DOCS / "reference/signals.md").read_text()
    subjects = {"forum.category", "forum.thread", "forum.post"}
    names = set()
    for app in CHECKED:
        for file in (ROOT / app).rglob("*.py"):
            names |= {
                node.value
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and re.fullmatch(r"directive\.[a-z_]+|audit\.[a-z_]+|forum\.[a-z]+\.[a-z_]+", node.value)
            }
    ours = {handler.name for handler in registry.handlers()}
    assert {f"`{name}`" for name in names - ours - subjects} <= set(re.findall(r"`[^`]+`", page))
    assert len(names) > 15


@pytest.mark.parametrize(
    ("owner", "heading"),
    [
        (Handler, "Declarations"),
        (DirectivePayload, "Payloads"),
        (Context, "The context"),
        (RetryPolicy, "Retry policy"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_a_handler_declares_is_documented(owner, heading):
    page = (DOCS / "reference/handlers.md").read_text()
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    known = set(re.findall(r"^\| `(\w+)", section, re.M))
    if owner is Context:
        assert known == {"directive", "tenant", "actor", "reason", "emit"}
    else:
        fields = {field for field in owner.__annotations__ if not field.startswith("_")}
        assert known == fields


def test_every_attack_is_documented_with_what_is_found():
    page = (DOCS / "reference/audit-format.md").read_text()
    told = re.findall(r"^\| (.+?) \| (found|\*\*not found\*\*) \| (\w*)", page, re.M)
    expected = [
        (attack.what, "found" if attack.found else "**not found**", attack.found)
        for attack in [*ATTACKS, *HIDING, *YOUNGER]
    ]
    assert told == expected


def test_alerts_use_metrics_that_exist():
    [rules] = [block.text for block in blocks(DOCS / "guides/watch.md") if "alert:" in block.text]
    known = set(
        re.findall(r"^\| `(fleetprompt_\w+)` \|", (DOCS / "reference/telemetry.md").read_text(), re.M)
    )
    assert {metric.name for metric in metrics.ALL} <= {name.removesuffix("_total") for name in known}
    used = set(re.findall(r"fleetprompt_\w+", rules))
    assert used
    assert used <= known


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_that_a_page_names_exist(page):
    for path in re.findall(
        r"`((?:tests|docs|directives|signals|forums|fleetprompt)/[\w/.-]+\.\w+)`", prose(page)
    ):
        assert (ROOT / path).exists(), path
    for block in blocks(page):
        for path in re.findall(r"tests/[\w/]+\.py", block.note):
            assert block.file or (ROOT / path).exists(), path


def test_decisions_are_numbered_short_records():
    files = sorted((DOCS / "adr").glob("0*.md"))
    assert [file.name[:4] for file in files] == [f"{number:04d}" for number in range(1, len(files) + 1)]
    for file in files:
        text = file.read_text()
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.M) == ["Context", "Decision", "Consequence"], (
            file.name
        )
        assert len(text.splitlines()) <= 20, file.name


def test_the_readme_is_one_screen():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 70


def test_settings_that_a_page_names_exist():
    known = {field.upper() for field in Environment.model_fields}
    families = "|".join({field.partition("_")[0] for field in known if "_" in field})
    for page in PAGES:
        text = page.read_text()
        named = re.findall(rf"`((?:{families})_[A-Z_]+)[`=]", text) + [
            variable
            for block in blocks(page)
            if block.language == "text" and not block.file
            for variable in re.findall(r"^([A-Z_]+)=", block.text, re.M)
        ]
        assert set(named) - known <= FOREIGN_VARIABLES, page
