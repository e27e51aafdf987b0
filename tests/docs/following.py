"""A reader who follows a page: runs its commands and its Python, and writes its files."""

import io
import os
import re
import shlex
import subprocess
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from django.core.management import CommandError, call_command
from django.test import Client

from directives import registry
from directives.handlers import Handler
from tests.docs.pages import ROOT, Block
from tests.fleetprompt.checkout import Checkout

EXECUTED = ("python", "console")
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class Reader:
    """Follows the blocks of a page in their order.

    A console block has commands behind `$ `, which a line that ends in a backslash continues, and below
    them what they print, where `…` stands for anything. A variable that is set to `…` gets the id that
    the last command printed. Python blocks share their names.

    Args:
        folder: where files are written and commands run.
        checkout: a copy of the project in whose processes everything runs, instead of in this one.
    """

    def __init__(self, folder: Path, checkout: Checkout | None = None) -> None:
        self.folder = folder
        self.output = ""
        self._checkout = checkout
        self._variables: dict[str, str] = {}
        self._names: dict[str, Any] = {}
        self._before: dict[str, registry.AnyHandler | None] = {}

    def follow(self, block: Block) -> None:
        """Do what the block says."""
        if block.file:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            if "/directive_handlers/" in block.file and not self._checkout:
                self._register(block)
        elif block.language == "python" and self._checkout:
            status, printed = self._manage("shell", "--command", block.text)
            assert status == 0, f"{block.place}\n{printed}"
        elif block.language == "python":
            code = "\n" * block.line + block.text
            with chdir(self.folder):
                exec(compile(code, block.place, "exec"), self._names)  # noqa: S102
        elif block.language == "console":
            self._follow_console(block)

    def leave(self) -> None:
        """Forget the handlers that the page defined."""
        for name, own in self._before.items():
            del registry._handlers[name]
            if own:
                registry.register(type(own))

    def _register(self, block: Block) -> None:
        module = ModuleType(block.file.removesuffix(".py").replace("/", "."))
        exec(compile(block.text, block.file, "exec"), vars(module))  # noqa: S102
        [handler] = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, Handler)
            and value.__module__ == module.__name__
        ]
        # A reader who followed the page has the same directive already.
        self._before[handler.name] = registry._handlers.pop(handler.name, None)
        registry.register(handler)

    def _follow_console(self, block: Block) -> None:
        for entry in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
            command, *expected = entry.replace("\\\n", " ").splitlines()
            while command.count('"') % 2 or command.count("'") % 2:
                command += "\n" + expected.pop(0)
            status, self.output = self._run(command, block.place)
            assert status == 0, f"{block.place}: {command}\n{self.output}"
            for line in filter(str.strip, expected):
                pattern = r"\s+".join(re.escape(word).replace("…", ".*") for word in line.split())
                assert re.search(pattern, self.output), f"{block.place}: {line}\n{self.output}"

    def _run(self, line: str, place: str) -> tuple[int, str]:
        if found := re.fullmatch(r"(\w+)=\$\((.*)\)", line):
            status, printed = self._run(found[2], place)
            self._variables[found[1]] = printed.strip()
            return status, printed
        words = shlex.split(
            re.sub(r"\$(\w+)", lambda found: self._variables[found[1]], line), comments=True
        )
        extra = {}
        while words and re.match(r"[A-Z_]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            extra[name] = value
        if not words:
            found = _UUID.search(self.output)
            for name, value in extra.items():
                assert found or value != "…", f"{place}: nothing before {name} printed an id"
                self._variables[name] = found[0] if found and value == "…" else value
            return 0, self.output
        with mock.patch.dict(os.environ, extra), chdir(self.folder):
            return self._program(words, extra, place)

    def _program(self, words: list[str], extra: dict[str, str], place: str) -> tuple[int, str]:
        match words:
            case ["python", "manage.py", *arguments]:
                return self._manage(*arguments, **extra)
            case ["python", "-m", "pytest", *arguments] if self._checkout:
                return _ended(self._checkout.run("-m", "pytest", *arguments))
            case ["make", *arguments]:
                # That the target and its variables exist; what it runs has tests of its own.
                command = ["make", "--dry-run", "--directory", str(ROOT), *arguments]
                return _ended(subprocess.run(command, capture_output=True, text=True, check=False))
            case ["curl", *options, url]:
                _, _, host, path = url.split("/", 3)
                headers = dict(option.split(": ") for option in options if ": " in option)
                answer = Client(headers=headers, SERVER_NAME=host.partition(":")[0]).get(f"/{path}")
                return 0, f"{answer.status_code}\n{answer.text}"
            case _:
                raise AssertionError(f"{place}: no reader here knows how to run {words[0]}")

    def _manage(self, *arguments: str, **extra: str) -> tuple[int, str]:
        if not self._checkout:
            return _in_process(*arguments)
        return _ended(self._checkout.manage(*arguments, **extra))


def _in_process(*arguments: str) -> tuple[int, str]:
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            call_command(*arguments)
        except CommandError as error:
            return error.returncode, printed.getvalue() + str(error)
        except SystemExit as error:
            return int(error.code or 0), printed.getvalue()
    return 0, printed.getvalue()


def _ended(done: "subprocess.CompletedProcess[str]") -> tuple[int, str]:
    return done.returncode, done.stdout + done.stderr
