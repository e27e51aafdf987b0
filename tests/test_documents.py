"""What the documents promise: their code runs, their links lead somewhere, their tables are complete."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
from django.conf import settings

from directives import registry
from directives.handlers import Handler
from directives.outcomes import Kind
from fleetprompt.environment import Environment
from forums import content
from tests.support import TESTER, ask, run, signal_names

DOCUMENTS = [settings.BASE_DIR / "README.md", *sorted((settings.BASE_DIR / "docs").glob("*.md"))]


@contextmanager
def first_handler_in(path: str) -> Iterator[None]:
    """Register the handler in a document's first Python block, as if its file were there."""
    text = (settings.BASE_DIR / path).read_text()
    module = ModuleType("forums.directive_handlers.from_document")
    exec(re.search(r"```python\n(.*?)```", text, re.S)[1], vars(module))  # noqa: S102
    [handler] = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Handler) and value.__module__ == module.__name__
    ]
    # Whoever followed the document has the same directive already.
    own = registry._handlers.pop(handler.name, None)
    registry.register(handler)
    try:
        yield
    finally:
        del registry._handlers[handler.name]
        if own:
            registry.register(type(own))


def test_the_readmes_own_directive_works(forum):
    with first_handler_in("README.md"):
        directive = ask("forum.thread.archive", {"thread_id": str(forum.thread.pk)}).directive
        assert run(directive).kind == Kind.SUCCEEDED
    forum.thread.refresh_from_db()
    assert forum.thread.status == "archived"
    assert "forum.thread.archived" in signal_names(directive)


def test_the_guides_directive_works(forum):
    news = content.create_category("news", "News", actor=TESTER)
    payload = {"thread_id": str(forum.thread.pk), "category_id": str(news.pk)}
    with first_handler_in("docs/add-a-directive.md"):
        directive = ask("forum.thread.move", payload).directive
        assert run(directive).kind == Kind.SUCCEEDED
    forum.thread.refresh_from_db()
    assert forum.thread.category == news


@pytest.mark.parametrize("name", sorted(Environment.model_fields))
def test_every_setting_is_documented(name):
    assert f"| `{name.upper()}` |" in (settings.BASE_DIR / "docs/operations.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_dependency_has_a_reason():
    project = (settings.BASE_DIR / "pyproject.toml").read_text()
    reasons = (settings.BASE_DIR / "docs/decisions.md").read_text().lower()
    names = re.findall(r'^    "([a-z0-9-]+)[\[>]', project, re.M)
    assert names
    for name in names:
        assert name.replace("-", " ") in reasons.replace("-", " "), name
