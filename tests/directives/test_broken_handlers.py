"""A handler file that cannot be imported: file, line and cause in one sentence, for every command."""

import pytest

from tests.fleetprompt.checkout import Checkout

FILE = "forums/directive_handlers/archive_thread.py"


@pytest.fixture
def broken(tmp_path):
    """Put a file of handlers into a copy of the project; return how a command ends there."""
    checkout = Checkout(tmp_path / "checkout")
    checkout.fill()
    (checkout.folder / "forums" / "shared.py").write_text("\nimport no_such_library\n")

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
        ("x = \n", "line 1: SyntaxError: invalid syntax (archive_thread.py, line 1)"),
        ("class A:\n    x = y\n", "line 2: NameError: name 'y' is not defined"),
        ("1 / 0\n", "line 1: ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_its_line(broken, code, sentence):
    ended = broken(code)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: {FILE}, {sentence}")
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


def test_the_whole_traceback_is_there_when_asked_for(broken):
    ended = broken("import no_such_library\n", "directive", "types", "--traceback")
    assert ended.returncode != 0
    assert "Traceback (most recent call last)" in ended.stderr
    assert "ModuleNotFoundError: No module named 'no_such_library'" in ended.stderr
    assert f"ImproperlyConfigured: {FILE}, line 1" in ended.stderr
