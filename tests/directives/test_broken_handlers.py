"""A handler file that cannot be imported: file, line and cause in one sentence, for every command."""

import pytest
from django.core.exceptions import ImproperlyConfigured

import forums
from directives import registry
from forums import directive_handlers
from tests.fleetprompt.checkout import Checkout

FILE = "forums/directive_handlers/close_thread.py"
SHARED = "\nimport no_such_library\n"


@pytest.fixture
def broken(tmp_path):
    """Put a file of handlers into a copy of the project; return how a command ends there."""
    checkout = Checkout(tmp_path / "checkout")
    checkout.fill()
    (checkout.folder / "forums" / "shared.py").write_text(SHARED)

    def broken(code, *arguments):
        (checkout.folder / FILE).write_text(code)
        return checkout.manage(*(arguments or ("directive", "types")))

    return broken


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("\nimport no_such_library\n", "line 2: ModuleNotFoundError: No module named 'no_such_library'"),
        ("from forums.models import Thraed\n", "line 1: ImportError: cannot import name 'Thraed' from "),
        (
            "\n\nfrom forums import shared\n",
            "line 3: ModuleNotFoundError: No module named 'no_such_library' "
            "(raised in forums/shared.py, line 2)",
        ),
        ("x = \n", "line 1: SyntaxError: invalid syntax (close_thread.py, line 1)"),
        ("class A:\n    x = y\n", "line 2: NameError: name 'y' is not defined"),
        ("1 / 0\n", "line 1: ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_its_line(
    monkeypatch, settings, tmp_path, code, sentence
):
    for package, path in ((forums, "forums"), (directive_handlers, "forums/directive_handlers")):
        (tmp_path / path).mkdir()
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / path)])
    settings.BASE_DIR = tmp_path
    (tmp_path / FILE).write_text(code)
    (tmp_path / "forums" / "shared.py").write_text(SHARED)
    with pytest.raises(ImproperlyConfigured) as told:
        registry.discover()
    assert str(told.value).startswith(f"{FILE}, {sentence}")
    assert "\n" not in str(told.value)


def test_a_command_ends_with_that_sentence(broken):
    ended = broken("\n\nfrom forums import shared\n")
    assert ended.returncode == 1
    assert ended.stderr.startswith(
        f"Error: {FILE}, line 3: ModuleNotFoundError: No module named 'no_such_library' "
        "(raised in forums/shared.py, line 2)"
    )
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


def test_the_whole_traceback_is_there_when_asked_for(broken):
    ended = broken("import no_such_library\n", "directive", "types", "--traceback")
    assert ended.returncode != 0
    assert "Traceback (most recent call last)" in ended.stderr
    assert "ModuleNotFoundError: No module named 'no_such_library'" in ended.stderr
    assert f"ImproperlyConfigured: {FILE}, line 1" in ended.stderr
