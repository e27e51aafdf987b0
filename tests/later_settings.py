"""The tests' settings, for a process whose code has one more migration."""

from tests.settings import *  # noqa: F403
from tests.settings import MIGRATION_MODULES

MIGRATION_MODULES = {**MIGRATION_MODULES, "directives": "tests.later"}
