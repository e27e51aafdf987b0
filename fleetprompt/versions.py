"""Version guards: the versions of other packages into whose private parts our modules reach."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version

PYTHON = "Python"
"""The name of the interpreter, and of its standard library, among the packages."""

_GUARDS: dict[str, Mapping[str, Sequence[str]]] = {}


def guard(module: str, written_for: Mapping[str, Sequence[str]]) -> None:
    """Register the versions that a module was written for.

    Args:
        module: its dotted name.
        written_for: by name of the package, versions or their beginnings, such as `1.11` for 1.11.3.
    """
    _GUARDS[module] = written_for


def mismatches() -> Iterator[str]:
    """Yield a sentence for each installed package whose version a registered module was not written for."""
    for module, packages in _GUARDS.items():
        for package, written_for in packages.items():
            installed = platform.python_version() if package == PYTHON else version(package)
            if not any(f"{installed}.".startswith(f"{known}.") for known in written_for):
                known = ", ".join(written_for)
                yield f"{package} {installed} is installed; {module} uses private parts of {known}"
